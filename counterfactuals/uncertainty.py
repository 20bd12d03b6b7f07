"""How unsure a classifier is, and why: the image is ambiguous, or the classifier has learned too little about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..images.resizing import resize_batch
from .problem import Problem, clamped

ALONE = (
    "there is no ensemble, so that nobody knows how much of it comes from having learned too little "
    "(cfx train DIR --only ensemble makes one)"
)

Ensemble = Callable[[Tensor], Tensor]
"""images (N, C, H, W) in [0, 1] -> logits (M, N, K) of M classifiers"""


class Uncertainty(NamedTuple):
    """The parts of a predictive entropy, each (N,) in nats.

    Attributes:
        total: entropy of the mean of the classifiers' probabilities.
        aleatoric: mean of their entropies: each of them is unsure.
        epistemic: the rest, their mutual information: they are sure of different classes.
    """

    total: Tensor
    aleatoric: Tensor
    epistemic: Tensor


def split(probabilities: Tensor) -> Uncertainty:
    """The uncertainty of several classifiers' probabilities (M, N, K).

    Source: Depeweg et al. 2018, arXiv 1710.07283, equation 1.
    """
    total, aleatoric = entropy(probabilities.mean(dim=0)), entropy(probabilities).mean(dim=0)
    return Uncertainty(total, aleatoric, (total - aleatoric).clamp(min=0))


def entropy(probabilities: Tensor) -> Tensor:
    """The entropy in nats of probabilities (..., K)."""
    return -(probabilities * probabilities.clamp(min=1e-12).log()).sum(dim=-1)


def probabilities_of(problem: Problem, ensemble: Ensemble, generated: Tensor, rows: Tensor) -> Tensor:
    """An ensemble's probabilities (M, N, K) of generated images (N, C, h, w) of the questions `rows`, differentiable.

    The images are those that the classifier evaluates, at the size at which the ensemble was trained.
    """
    full = clamped(problem.in_full(generated, rows))
    height, width = problem.images.shape[2:]
    return ensemble(resize_batch(full, (height, width))).softmax(dim=-1)


def before_and_after(problem: Problem, ensemble: Ensemble | None, generated: Tensor, row: int) -> str:
    """A sentence about the uncertainty of a factual and of its counterfactual.

    Args:
        problem: with the factual and the classifier, whose calls are not counted.
        ensemble: of classifiers; None if there is none.
        generated: (1, C, h, w), the counterfactual.
        row: its question.
    """
    rows = torch.tensor([row], device=generated.device)
    factual, found = problem.factuals[rows], problem.in_full(generated, rows).clamp(0, 1)
    own = problem.logits(torch.cat([factual, found])).softmax(dim=1)
    if ensemble is None:
        before, after = entropy(own).tolist()
        return f"entropy of the classifier: {before:.2f} nats before, {after:.2f} after; {ALONE}"
    height, width = problem.images.shape[2:]
    others = ensemble(resize_batch(torch.cat([factual, found]), (height, width))).softmax(dim=-1)
    parts = torch.stack(split(torch.cat([own[None], others])), dim=1).tolist()
    before, after = (f"{total:.2f} nats (aleatoric {own:.2f}, epistemic {rest:.2f})" for total, own, rest in parts)
    return f"uncertainty of the classifier and the ensemble: {before} before, {after} after"
