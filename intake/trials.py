"""Runs a classifier with several preprocessings on the same labelled images, and ranks them by likelihood."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..classifiers.foreign.preprocessing import Preprocessing
from .class_matching import Matched, best_order
from .likelihood import Fit, by_chance, fit_of, likelier
from .probe import Probe, logits_of

DIFFER = 4  # images by which it is told how much the inputs of two preprocessings differ
CLOSE = 0.1  # relative difference of two inputs, below which no likelihood tells which one a classifier was made for


@dataclass(frozen=True, eq=False)
class Ranking:
    """Preprocessings by their fit to the labels.

    They are ranked by the NLL with each one's best temperature. The NLL as it is would prefer an input of too much
    contrast if the classifier is less sure than it is right, as label smoothing makes it, and of too little otherwise.

    Attributes:
        fits: of each preprocessing, the best first.
        inputs: what some images become with each preprocessing.
        images: number of images.
        own_size: (H, W) of the images.
        telling: whether one of them tells the labels better than by guessing; if not, their ranks mean nothing.
    """

    fits: dict[Preprocessing, Fit]
    inputs: dict[Preprocessing, Tensor]
    images: int
    own_size: tuple[int, int]
    telling: bool

    def surely(self, better: Preprocessing, other: Preprocessing) -> bool:
        """Whether the labels are likelier with one preprocessing than with the other beyond chance.

        That is so with the best temperatures, whatever the number of preprocessings compared, and the NLL as it is does
        not say the opposite.
        """
        first, second = self.fits[better], self.fits[other]
        return not first.loss > second.loss and likelier(first.fitted, second.fitted, len(self.fits))

    def undecided(self) -> tuple[Preprocessing, ...]:
        """The best, and those with which the labels are not surely less likely or the input is nearly the same."""
        best = next(iter(self.fits))
        return tuple(
            other
            for other in self.fits
            if other == best or gap(self.inputs[best], self.inputs[other]) < CLOSE or not self.surely(best, other)
        )


def gap(one: Tensor, other: Tensor) -> float:
    """The relative difference of two inputs; infinite if their shapes differ."""
    return float((one - other).norm() / other.norm().clamp_min(1e-12)) if one.shape == other.shape else float("inf")


class Trials:
    """One classifier on the same labelled images.

    Args:
        probe: the classifier.
        matched: which of its classes the images' classes are.
        runs: about how many preprocessings will be tried; the more, the fewer images.
        limits: the smallest and the largest number of images.
    """

    def __init__(self, probe: Probe, matched: Matched, runs: int, limits: tuple[int, int]) -> None:
        self.probe = probe
        self.columns = matched.columns if matched.among else None
        self.ordered = matched.columns is None  # whether the images' classes may be in another order
        self.sample = probe.affordable(limits, runs)
        self.labels = matched.labelling.classes_of(self.sample.labels)
        self.logits: dict[Preprocessing, Tensor] = {}
        self.inputs: dict[Preprocessing, Tensor] = {}
        self.fits: dict[Preprocessing, Fit] = {}
        self.fitted_to = self.labels

    def run(self, preprocessings: Iterable[Preprocessing]) -> None:
        """Run the classifier with further preprocessings, but with none that gives it an input that it has had."""
        few = self.sample.floats(slice(0, DIFFER))
        for preprocessing in preprocessings:
            given = preprocessing.to_input(few)
            if all(gap(given, other) > 0 for other in self.inputs.values()):
                self.inputs[preprocessing] = given
                self.logits[preprocessing] = logits_of(self.probe.adapted(self.columns, preprocessing), self.sample)

    def ranking(self) -> Ranking:
        """All that were run, ranked."""
        labels = self.labels_in_best_order() if self.ordered else self.labels
        if not torch.equal(labels, self.fitted_to):
            self.fits, self.fitted_to = {}, labels
        for preprocessing, logits in self.logits.items():
            if preprocessing not in self.fits:
                self.fits[preprocessing] = fit_of(logits, labels)
        fits = dict(sorted(self.fits.items(), key=lambda item: item[1].fitted_loss))
        height, width = self.sample.images.shape[2:]
        return Ranking(fits, self.inputs, len(labels), (height, width), tells(fits.values(), labels))

    def labels_in_best_order(self) -> Tensor:
        """The labels in the classifier's own order of the classes, if the predictions suggest another beyond chance.

        Otherwise, a wrong order would favour the preprocessing with which the classifier is the least sure.
        """
        count, labels = len(self.labels), self.labels
        own = 0.0
        found: tuple[float, tuple[int, ...] | None] = (0.0, None)
        for logits in self.logits.values():
            if not torch.isfinite(logits).all():
                continue
            seen = logits.argmax(dim=1)
            own = max(own, float((seen == labels).float().mean()))
            found = max(found, best_order(seen, labels, logits.shape[1]), key=lambda each: each[0])
        rate, order = found
        if order is None or rate <= own + by_chance(own, count):
            return labels
        return torch.tensor(order).argsort()[labels]


def tells(fits: Iterable[Fit], labels: Tensor) -> bool:
    """Whether one of the fits is more often right, or gives likelier labels, than their frequencies beyond chance."""
    count = len(labels)
    shares = labels.bincount().double() / count
    chance, guesses = float(shares.max()), -shares[labels].log().numpy()
    return any(fit.accuracy > chance + by_chance(chance, count) or likelier(fit.losses, guesses) for fit in fits)
