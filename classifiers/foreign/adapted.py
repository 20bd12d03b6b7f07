"""A classifier that someone else trained, behind the contract of cfx: image batch -> logits (N, K)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from ...errors import UsageError
from .preprocessing import Preprocessing


class Called(nn.Module):
    """A plain callable as a module, so that it can be part of one."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Any:
        return self.function(inputs)


class Adapted(nn.Module):
    """image batch (N, C, H, W) in [0, 1] -> logits (N, K) of a foreign model, which stays in eval mode for good.

    Args:
        model: takes what `preprocessing.to_input` makes; answers a tensor, an array, or a tuple, list, dict or
            Hugging Face output that holds one.
        preprocessing: what the model takes and what its answers mean.
        differentiable: whether gradients may be asked of it; without, it is called under `no_grad`.
        columns: the classes of the foreign model that are asked about. One more logit, the last, stands for all
            the others (their logsumexp), so that the softmax of the chosen is what the whole model says; where
            none is left over there is none.
        fixed_batch: how many images the model takes at once, no more and no fewer. A batch is cut into parts of
            this size, the last one filled up with its own last image.
    """

    def __init__(
        self,
        model: nn.Module | Callable[[Tensor], Any],
        preprocessing: Preprocessing,
        differentiable: bool = True,
        columns: Sequence[int] | None = None,
        *,
        fixed_batch: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model if isinstance(model, nn.Module) else Called(model)
        self.preprocessing = preprocessing
        self.differentiable = differentiable
        self.columns = None if columns is None else tuple(columns)
        self.fixed_batch = fixed_batch
        if self.columns is not None and (
            len(set(self.columns)) < len(self.columns) or min(self.columns, default=-1) < 0
        ):
            raise UsageError(f"columns {list(self.columns)}: name at least one class, none below 0 and none twice")
        settle(self.model)
        self.training = False

    def train(self, mode: bool = True) -> Self:
        """Keeps the flag for the callers that ask; what is explained is never trained, so the model stays as it is.

        A module made by torch.export would refuse the call, too.
        """
        self.training = mode
        return self

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) in [0, 1] -> logits (N, K).

        Raises:
            UsageError: the model's answer holds no tensor, or one of another shape.
        """
        if not self.differentiable:
            with torch.no_grad():
                return self._logits(images.detach())
        return self._logits(images)

    def raw(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) in [0, 1] -> what the model answers, (N, ...), before `to_logits` and `columns`."""
        inputs = self.preprocessing.to_input(images)
        count = len(inputs)
        if count == 0:  # the number of classes is known to the model alone
            inputs = inputs.new_zeros(1, *inputs.shape[1:])
        size = self.fixed_batch or len(inputs)
        output = torch.cat([self._part(part, size) for part in inputs.split(size)])
        return output[:count]

    def _part(self, inputs: Tensor, size: int) -> Tensor:
        missing = size - len(inputs)
        filled = torch.cat([inputs, inputs[-1:].expand(missing, -1, -1, -1)]) if missing else inputs
        output = answer(self.model(filled)).to(inputs.device)
        if output.dim() == 0 or len(output) != size:
            raise UsageError(
                f"the classifier answers {tuple(output.shape)} to {size} images; its first dimension must be the images"
            )
        return output[: len(inputs)]

    def _logits(self, images: Tensor) -> Tensor:
        logits = self.preprocessing.to_logits(self.raw(images))
        if self.columns is None:
            return logits
        classes = logits.shape[1]
        if max(self.columns) >= classes:
            raise UsageError(f"columns {list(self.columns)}: the classifier has {classes} classes, counted from 0")
        chosen = logits[:, list(self.columns)]
        others = [column for column in range(classes) if column not in self.columns]
        return torch.cat([chosen, logits[:, others].logsumexp(1, keepdim=True)], dim=1) if others else chosen


def answer(output: Any) -> Tensor:
    """The tensor in what a model returned: `.logits`, the entry "logits", or the first tensor there is.

    Raises:
        UsageError: there is none.
    """
    if isinstance(output, Tensor):
        return output
    if hasattr(output, "__array__"):
        return torch.as_tensor(output.__array__())
    if isinstance(getattr(output, "logits", None), Tensor):
        return output.logits
    if isinstance(output, Mapping):
        output = [output["logits"]] if "logits" in output else list(output.values())
    if isinstance(output, tuple | list):
        for value in output:
            if isinstance(value, Tensor) or hasattr(value, "__array__"):
                return answer(value)
    raise UsageError(
        f"the classifier returned a {type(output).__name__} without a tensor; it must return logits (N, K), "
        "or a tuple or dict that holds them"
    )


def settle(model: nn.Module) -> None:
    """Put a model in eval mode, also one that holds a module of torch.export, which refuses `eval`."""
    try:
        model.eval()
    except NotImplementedError:
        for module in model.modules():
            module.training = False


def has_gradients(adapted: nn.Module, images: Tensor) -> bool:
    """Whether the classifier's answer about at least one of the images (N, C, H, W) has a usable gradient.

    Usable: finite, and not zero everywhere. A black box has none, nor has a model that rounds its input.
    """
    with torch.inference_mode(False), torch.enable_grad():
        asked = images.detach().clone().requires_grad_()
        try:
            total = adapted(asked).log_softmax(dim=1).sum()
            (gradient,) = torch.autograd.grad(total, asked)
        except RuntimeError:  # there is no way back from the answer to the image
            return False
    per_image = gradient.flatten(1)
    return bool((per_image.isfinite().all(dim=1) & per_image.ne(0).any(dim=1)).any())
