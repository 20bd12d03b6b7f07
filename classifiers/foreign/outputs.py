"""Finds the classifier's answer in what a foreign model returns, and guesses what its numbers mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import UsageError

# The accuracy of a sum over a thousand classes in half precision.
TOLERANCE = 1e-3


LOGITS_OF = {
    ("probabilities", "softmax"): "logits",
    ("log-probabilities", "log-softmax"): "logits",
    ("sigmoid", "sigmoid"): "binary-logit",
    ("multi-label", "sigmoid"): "multi-label-logits",
}
"""What an output is, and the activation that it is the result of -> what is in front of the activation."""


def outputs_of(output: Any) -> dict[int | str, Tensor]:
    """All tensors in a model's output, by their index or name; a single tensor or array has the index 0.

    Raises:
        UsageError: there is no tensor.
    """
    if isinstance(output, Tensor):
        return {0: output}
    if hasattr(output, "__array__"):
        return {0: torch.as_tensor(output.__array__())}
    if isinstance(output, Mapping):
        entries = [(str(name), value) for name, value in output.items()]
    elif isinstance(output, tuple | list):
        entries = list(enumerate(output))
    elif isinstance(getattr(output, "logits", None), Tensor):
        entries = [("logits", output.logits)]
    else:
        entries = []
    found: dict[int | str, Tensor] = {}
    for name, value in entries:
        if isinstance(value, Tensor) or hasattr(value, "__array__"):
            found[name] = value if isinstance(value, Tensor) else torch.as_tensor(value.__array__())
    if not found:
        raise UsageError(
            f"the classifier returned a {type(output).__name__} without a tensor; it must return logits (N, K), "
            "or a tuple or dict that contains them"
        )
    return found


def output_tensor(output: Any, index: int | str | None = None) -> Tensor:
    """The tensor of a model's output that has this index or name; without one, "logits" or the first tensor.

    Raises:
        UsageError: there is no tensor, or none of this index or name.
    """
    if isinstance(output, Tensor) and index in (None, 0):
        return output
    found = outputs_of(output)
    if index is None:
        return found["logits"] if "logits" in found else next(iter(found.values()))
    if index not in found:
        raise UsageError(f"--output-index {index}: the classifier has no such output; it returns {shown(found)}")
    return found[index]


def shown(found: Mapping[int | str, Tensor]) -> str:
    """The outputs of a model with their shapes, for a message: "0 (N, 64), 1 (N, 10)"."""
    return ", ".join(f"{name} {shape_of(tensor)}" for name, tensor in found.items())


def shape_of(tensor: Tensor) -> str:
    """The shape of a batch's output as a message shows it: "(N, 10)"."""
    return f"({', '.join(['N', *map(str, tensor.shape[1:])])})"


def choose_output(found: Mapping[int | str, Tensor], classes: int | None) -> tuple[int | str, str]:
    """Choose the output that is the classifier's answer.

    Args:
        found: the outputs for a batch of images, by index or name.
        classes: number of classes, if it is known.

    Returns:
        Its index or name, and the reason.
    """
    if "logits" in found:
        return "logits", "because of its name"
    tables = {name: tensor for name, tensor in found.items() if columns_of(tensor) is not None}
    if classes is not None:
        for name, tensor in tables.items():
            if columns_of(tensor) == classes:
                return name, f"because it has {classes} columns, one for each class"
    for name, tensor in tables.items():
        if tensor.dim() == 2 and tensor.shape[1] > 1:
            return name, "because it is the first with one row of numbers for each image"
    return next(iter(tables or found)), "because it is the first"


def columns_of(tensor: Tensor) -> int | None:
    """Number of values per image in an output of shape (N,), (N, K) or (N, K, 1, 1); None for other shapes."""
    if tensor.dim() == 0 or (tensor.dim() > 2 and tensor.shape[2:].numel() != 1):
        return None
    return tensor.shape[1:2].numel()


def guess_output(sample: Tensor) -> str:
    """Guesses which of `OUTPUTS` a classifier returns, from a sample (N, ...) of its raw output."""
    rows = sample.detach().float().reshape(len(sample), -1)
    within = _within(rows)
    if rows.shape[1] == 1:
        return "sigmoid" if within else "binary-logit"
    if within and _near(rows.sum(dim=1), 1):
        return "probabilities"
    if within and bool((rows != rows[:1]).any()):  # constant values may be anything
        return "multi-label"
    if bool((rows <= 0).all()) and _near(rows.logsumexp(dim=1), 0):
        return "log-probabilities"
    return "logits"


def contradiction(output: str, sample: Tensor) -> str | None:
    """Why a sample (N, ...) of a classifier's raw output cannot be of the kind `output`; None if it can."""
    rows = sample.detach().float().reshape(len(sample), -1)
    low, high = float(rows.min()), float(rows.max())
    if output in ("probabilities", "sigmoid", "multi-label") and not _within(rows):
        return f"its values range from {low:.3g} to {high:.3g}, not from 0 to 1"
    if output == "probabilities" and not _near(rows.sum(dim=1), 1):
        sums = rows.sum(dim=1)
        return f"its values sum to {float(sums.min()):.3g} to {float(sums.max()):.3g} for an image, not to 1"
    if output == "log-probabilities":
        sums = rows.exp().sum(dim=1)
        if not _near(sums, 1):
            return f"their exponentials sum to {float(sums.min()):.3g} to {float(sums.max()):.3g}, not to 1"
    return None


def _within(rows: Tensor) -> bool:
    return bool(((rows >= 0) & (rows <= 1)).all())


def _near(values: Tensor, wanted: float) -> bool:
    return bool((values - wanted).abs().max() < TOLERANCE)
