"""Adapts a foreign classifier to the interface that cfx uses: image batch -> logits (N, K)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from ...errors import UsageError
from .outputs import output_tensor
from .preprocessing import Preprocessing


class Called(nn.Module):
    """Wraps a plain callable as a module, so that another module can contain it."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Any:
        return self.function(inputs)


class Adapted(nn.Module):
    """image batch (N, C, H, W) in [0, 1] -> logits (N, K) of a foreign model, which always stays in eval mode.

    Args:
        model: takes the output of `preprocessing.to_input`; returns a tensor, an array, or a tuple, list, dict or
            Hugging Face output that contains one.
        preprocessing: the input that the model expects and the meaning of its output.
        differentiable: whether the model has gradients; if not, it is called under `no_grad`.
        columns: the classes of the foreign model to which its probabilities are restricted, in this order; None: all.
        fixed_batch: the exact number of images that the model takes at once. A batch is split into batches of this
            size, and the last one is padded with copies of its last image.
        least_batch: the smallest number of images that the model takes at once; smaller batches are padded in the
            same way.
    """

    def __init__(
        self,
        model: nn.Module | Callable[[Tensor], Any],
        preprocessing: Preprocessing,
        differentiable: bool = True,
        columns: Sequence[int] | None = None,
        *,
        fixed_batch: int | None = None,
        least_batch: int = 1,
    ) -> None:
        super().__init__()
        self.model = model if isinstance(model, nn.Module) else Called(model)
        self.preprocessing = preprocessing
        self.differentiable = differentiable
        self.columns = None if columns is None else tuple(columns)
        self.fixed_batch = fixed_batch
        self.least_batch = least_batch
        if self.columns is not None and (
            len(set(self.columns)) < len(self.columns) or min(self.columns, default=-1) < 0
        ):
            raise UsageError(f"columns {list(self.columns)}: name at least one class, none below 0 and none twice")
        set_eval_mode(self.model)
        self.training = False

    def train(self, mode: bool = True) -> Self:
        """Sets only the `training` flag. The model stays in eval mode, because cfx never trains a foreign model.

        A module made by torch.export would also refuse the call.
        """
        self.training = mode
        return self

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) in [0, 1] -> logits (N, K).

        Raises:
            UsageError: the model's output contains no tensor, or one of the wrong shape.
        """
        if not self.differentiable:
            with torch.no_grad():
                return self._logits(images.detach())
        return self._logits(images)

    def raw(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) in [0, 1] -> the model's output, (N, ...), before `to_logits` and `columns`."""
        inputs = self.preprocessing.to_input(images)
        count = len(inputs)
        if count == 0:  # only the model knows the number of classes
            inputs = inputs.new_zeros(1, *inputs.shape[1:])
        size = self.fixed_batch or max(len(inputs), self.least_batch)
        if len(inputs) <= size:
            return self._run_batch(inputs, size)[:count]
        # Copies, because the model may change its input in place, and must not change that of others.
        return torch.cat([self._run_batch(batch.clone(), size) for batch in inputs.split(size)])

    def _run_batch(self, inputs: Tensor, size: int) -> Tensor:
        output = output_tensor(self.model(padded(inputs, size)), self.preprocessing.output_index).to(inputs.device)
        if output.dim() == 0 or len(output) != size:
            raise UsageError(
                f"the classifier returns {tuple(output.shape)} for {size} images; "
                "its first dimension must be the images"
            )
        return output[: len(inputs)]

    def _logits(self, images: Tensor) -> Tensor:
        logits = self.preprocessing.to_logits(self.raw(images))
        if self.columns is None:
            return logits
        classes = logits.shape[1]
        if max(self.columns) >= classes:
            raise UsageError(f"columns {list(self.columns)}: the classifier has {classes} classes, counted from 0")
        return logits[:, list(self.columns)]


def padded(images: Tensor, size: int) -> Tensor:
    """A batch (N, C, H, W) with copies of its last image appended, so that there are at least `size`."""
    missing = size - len(images)
    return torch.cat([images, images[-1:].expand(missing, -1, -1, -1)]) if missing > 0 else images


def set_eval_mode(model: nn.Module) -> None:
    """Puts a model in eval mode, even if it contains a module of torch.export, which refuses `eval`."""
    try:
        model.eval()
    except NotImplementedError:
        for module in model.modules():
            module.training = False


def has_gradients(adapted: nn.Module, images: Tensor) -> bool:
    """Whether the classifier's output has a usable gradient for at least one of the images (N, C, H, W).

    A black box has none, and neither has a model that rounds its input.
    """
    return bool(usable_gradients(adapted, images).any())


def usable_gradients(adapted: nn.Module, images: Tensor) -> Tensor:
    """For which of the images (N, C, H, W) the gradient of the output is finite and not zero everywhere, (N,) bool."""
    with torch.inference_mode(False), torch.enable_grad():
        inputs = images.detach().clone().requires_grad_()
        try:
            total = adapted(inputs).log_softmax(dim=1).sum()
            (gradient,) = torch.autograd.grad(total, inputs)
        except RuntimeError:  # the output does not depend on the image through autograd
            return torch.zeros(len(images), dtype=torch.bool)
    per_image = gradient.flatten(1)
    return per_image.isfinite().all(dim=1) & per_image.ne(0).any(dim=1)
