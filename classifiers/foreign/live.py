"""Classifiers that a Python program has already loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import chain
from typing import Any, Self

from torch import Tensor, nn
from torch.func import functional_call

from ...errors import UsageError
from ..introspection.frozen import frozen_eval
from .adapted import Called
from .contract import STEM, Foreign, pack


class Borrowed(nn.Module):
    """Runs somebody else's model on its own device in eval mode, and gives it back as it was.

    Args:
        model: the model.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = False
        # What was made in inference mode has no gradients, also outside of it; its copies have.
        state = chain(model.named_parameters(), model.named_buffers())
        self._copies = {name: each.detach().clone() for name, each in state if each.is_inference()}

    def train(self, mode: bool = True) -> Self:
        """Sets only the `training` flag; the model keeps its mode between calls."""
        self.training = mode
        return self

    def forward(self, inputs: Tensor) -> Any:
        weight = next(self.model.parameters(), inputs)
        with frozen_eval(self.model):
            if self._copies:
                return functional_call(self.model, self._copies, (inputs.to(weight.device),))
            return self.model(inputs.to(weight.device))


def open_live(model: nn.Module | Callable[[Tensor], Any]) -> Foreign:
    """Opens a model in memory. It is called as it is, and its mode, hooks and parameters are left as they are.

    Args:
        model: an nn.Module, or another callable, which is a black box.

    Raises:
        UsageError: it is neither.
    """
    name = type(model).__name__
    if isinstance(model, nn.Module):
        # Dynamic quantisation rounds an image by the largest value in its batch: each image is asked about alone.
        alone = any("quantized.dynamic" in type(module).__module__ for module in model.modules())
        weights = {f"{STEM}.safetensors": identity_of(model, name)}
        return Foreign(Borrowed(model), "live", name, files=weights, fixed_batch=1 if alone else None)
    if isinstance(model, type):
        raise UsageError(f"classifier: is the class {model.__name__}; make a model of it, {model.__name__}()")
    if not callable(model):
        raise UsageError(f"classifier: is a {name}; give a module, a function, or the name of a classifier")
    return Foreign(Called(model), "live", getattr(model, "__name__", name), differentiable=False)


def identity_of(model: nn.Module, name: str) -> bytes:
    """What tells a model from others: its weights; as it is not stored, they may be quantised or of any other kind."""
    if not model.state_dict():
        return b""
    try:
        return pack(model, name)
    except Exception:  # safetensors does not have every type and layout
        digest = hashlib.sha256()
        for key, value in model.state_dict().items():
            digest.update(f"{key} {described(value)}\n".encode())
        return digest.digest()


def described(value: object) -> str:
    """What a value of a model's state is, the same for equal ones."""
    if isinstance(value, list | tuple):
        return f"({', '.join(map(described, value))})"
    if not isinstance(value, Tensor):
        return repr(value) if isinstance(value, str | int | float | bytes | None) else type(value).__name__
    try:
        numbers = value.detach().dequantize() if value.is_quantized else value.detach().to_dense()
        content = hashlib.sha256(numbers.cpu().contiguous().flatten().view(-1).numpy().tobytes()).hexdigest()
    except Exception:  # a tensor without values
        content = "of unknown content"
    return f"{value.dtype} {tuple(value.shape)} {content}"
