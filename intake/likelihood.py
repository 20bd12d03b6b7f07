"""Compares classifiers, or one classifier with several inputs, by the likelihood of the labels of the same images."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..intervals import paired_difference

LEAST_DIFFERENCE = 0.02  # smallest difference of accuracies that counts
COLDEST, HOTTEST = 0.05, 20.0  # temperatures between which the best one is looked for
STEPS = 13  # temperatures in each of two passes, in equal steps of their logarithms
ERROR_RATE = 0.05  # of all comparisons together: how often a difference by chance may be taken for a real one


@dataclass(frozen=True, eq=False)
class Fit:
    """How well logits fit labels.

    Attributes:
        losses: (N,) negative log-likelihood (NLL) of each image's label.
        fitted: (N,) the same, as if one more label were wrong, with the logits divided by the temperature for which
            the mean is the lowest: what is left if the classifier is made as sure as it is right.
        accuracy: share of images whose likeliest class is the label.
    """

    losses: np.ndarray
    fitted: np.ndarray
    accuracy: float

    @property
    def loss(self) -> float:
        """The mean NLL."""
        return float(self.losses.mean())

    @property
    def fitted_loss(self) -> float:
        """The mean NLL with the best temperature."""
        return float(self.fitted.mean())


def fit_of(logits: Tensor, labels: Tensor) -> Fit:
    """How well logits (N, K) fit labels (N,); an infinite NLL where some logits are NaN or infinite."""
    count = len(labels)
    if not torch.isfinite(logits).all():
        worst = np.full(count, np.inf)
        return Fit(worst, worst, 0.0)
    scores = logits.double()

    def smoothed(temperature: float) -> Tensor:
        # As if one label were wrong: otherwise the best temperature of a classifier that is always right would be 0.
        return F.cross_entropy(scores / temperature, labels, reduction="none", label_smoothing=1 / (count + 1))

    best = min(np.geomspace(COLDEST, HOTTEST, STEPS), key=lambda each: float(smoothed(each).mean()))
    step = (HOTTEST / COLDEST) ** (1 / (STEPS - 1))
    best = min(np.geomspace(best / step, best * step, STEPS), key=lambda each: float(smoothed(each).mean()))
    return Fit(
        losses=F.cross_entropy(scores, labels, reduction="none").numpy(),
        fitted=smoothed(best).numpy(),
        accuracy=float((logits.argmax(dim=1) == labels).double().mean()),
    )


def likelier(better: np.ndarray, other: np.ndarray, among: int = 2) -> bool:
    """Whether the mean of `better` (N,) is lower than that of `other` beyond chance, image by image.

    The paired 95 % interval of the difference must exclude 0. Where `better` is the best `among` several, so must the
    interval of Student's t that is as much wider as comparisons of all their pairs ask for (Bonferroni).
    """
    if not np.isfinite(other).all():
        return bool(np.isfinite(better).all())
    if not np.isfinite(better).all() or len(better) < 2:
        return False
    gaps, pairs = other - better, among * (among - 1) // 2
    error = float(gaps.std(ddof=1)) / len(gaps) ** 0.5
    if gaps.mean() <= _student(1 - ERROR_RATE / 2 / pairs, len(gaps) - 1) * error:
        return False
    difference = paired_difference(other, better)
    return difference is not None and difference.low is not None and difference.low > 0


def by_chance(share: float, count: int) -> float:
    """How much another share of `count` images may exceed this one by chance: three standard errors, at least 2 %."""
    return max(LEAST_DIFFERENCE, 3 * (share * (1 - share) / count) ** 0.5)


def _student(level: float, freedom: int) -> float:
    """The quantile of Student's t (Abramowitz and Stegun 1964, 26.7.5: first terms of the expansion in 1/freedom)."""
    z = NormalDist().inv_cdf(level)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2
