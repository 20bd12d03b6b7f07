"""Images that the classifier has evaluated, and how images are limited to those that a PNG stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .goal import Goal

Classifier = Callable[[Tensor], Tensor]
"""image batch (N, C, H, W) in [0, 1] -> logits (N, K)"""


def as_written(images: Tensor) -> Tensor:
    """Clamps to [0, 1] and rounds to 8 bits, exactly as a PNG stores the image. Not differentiable."""
    return (images.detach().clamp(0, 1) * 255).round() / 255


def clamped(images: Tensor) -> Tensor:
    """Clamps to [0, 1] with the gradient of the identity (a straight-through estimate).

    A pixel at its limit therefore still receives a gradient (as in Dombrowski et al.'s code, which clips in place).
    """
    limited = images.clamp(0, 1)
    return images + (limited - images).detach() if images.requires_grad else limited


@dataclass(frozen=True)
class Candidates:
    """Images that the classifier has evaluated, one per row.

    Attributes:
        images: (N, C, H, W), rounded to 8 bits.
        valid: (N,) bool, whether each meets the goal and, where more is required, that (`SearchRequest.typical`).
        confidence: (N,) the target's probability.
        predicted: (N,) int64, the most probable class.
        predicted_confidence: (N,) its probability.
    """

    images: Tensor
    valid: Tensor
    confidence: Tensor
    predicted: Tensor
    predicted_confidence: Tensor

    @classmethod
    def of(cls, images: Tensor, log_probabilities: Tensor, goal: Goal, rows: Tensor) -> Candidates:
        """The candidates `images` of the questions `rows` (N,), from one evaluation of them.

        Validity and the predicted class come from the same output, so that they agree even for a classifier that
        gives another output at each evaluation.
        """
        probability, predicted = log_probabilities.detach().exp().max(dim=1)
        return cls(images, *goal.met(log_probabilities, rows), predicted, probability)

    def only(self, rows: Tensor) -> Candidates:
        """A copy of the candidates at the indices `rows`, in this order."""
        return Candidates(**{name: value[rows] for name, value in vars(self).items()})

    def replace(self, rows: Tensor, others: Candidates, chosen: Tensor) -> None:
        """Replaces the candidates at the indices `rows` by the candidates `chosen` (indices or mask) of `others`."""
        for mine, theirs in zip(vars(self).values(), vars(others).values(), strict=True):
            mine[rows] = theirs[chosen]
