"""Aleatoric and epistemic uncertainty: the image is ambiguous, or classifiers have learned too little about it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


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
