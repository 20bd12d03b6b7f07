"""Classifiers that a Python program has already loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from torch import Tensor, nn

from ...errors import UsageError
from .adapted import Called
from .contract import STEM, Foreign, pack


class Borrowed(nn.Module):
    """Runs somebody else's model on its own device in eval mode, and leaves the mode of each of its modules as it was.

    Args:
        model: the model.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = False

    def train(self, mode: bool = True) -> Self:
        """Sets only the `training` flag; the model keeps its mode between calls."""
        self.training = mode
        return self

    def forward(self, inputs: Tensor) -> Any:
        weight = next(self.model.parameters(), inputs)
        # Set directly, because a model may have a `train` method of its own.
        in_training = [module for module in self.model.modules() if module.training]
        for module in in_training:
            module.training = False
        try:
            return self.model(inputs.to(weight.device))
        finally:
            for module in in_training:
                module.training = True


def open_live(model: nn.Module | Callable[[Tensor], Any]) -> Foreign:
    """Opens a model in memory. It is called as it is, and its mode, hooks and parameters are left as they are.

    Args:
        model: an nn.Module, or another callable, which is a black box.

    Raises:
        UsageError: it is neither.
    """
    name = type(model).__name__
    if isinstance(model, nn.Module):
        weights = pack(model, name) if model.state_dict() else b""
        return Foreign(Borrowed(model), "live", name, files={f"{STEM}.safetensors": weights})
    if not callable(model):
        raise UsageError(f"classifier: is a {name}; give a module, a function, or the name of a classifier")
    return Foreign(Called(model), "live", getattr(model, "__name__", name), differentiable=False)
