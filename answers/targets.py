"""Target policies: which classes are asked for where a user names a rule and no class, and about which images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from .wanted import Wanted

Which = Literal["right", "wrong", "all"]
"""The images to ask about: those that the classifier gets right, those that it gets wrong, or all."""


def is_among(which: Which, seen: int, label: int | None) -> bool:
    """Whether an image is to be asked about, by the class that is seen in it and its label; one without label is."""
    return which == "all" or label is None or (seen == label) == (which == "right")


class TargetPolicy(Protocol):
    """Chooses what is asked of each image."""

    def wanted(self, index: int, probabilities: Tensor, bundle: Bundle) -> Sequence[Wanted]:
        """What is asked of an image, a question each; empty: nothing.

        Args:
            index: of the image among all inputs.
            probabilities: (K,) that the classifier gives it.
            bundle: names the classes that its models were trained on.
        """
        ...


@dataclass(frozen=True)
class RandomTarget:
    """Another class than the predicted one, at random. It depends on the image's index and the seed alone."""

    seed: int = 0

    def wanted(self, index: int, probabilities: Tensor, bundle: Bundle) -> Sequence[Wanted]:
        others = others_of(probabilities, bundle)
        # Each image has its own generator, so that its target does not depend on which other images could be read.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        return [Wanted("target", (others[int(torch.randint(len(others), (1,), generator=generator))],))]


class RunnerUpTarget:
    """The most probable class but the predicted one."""

    def wanted(self, index: int, probabilities: Tensor, bundle: Bundle) -> Sequence[Wanted]:
        best = max(others_of(probabilities, bundle), key=lambda target: float(probabilities[target]))
        return [Wanted("target", (best,))]


class EveryTarget:
    """Every class but the predicted one, a question each."""

    def wanted(self, index: int, probabilities: Tensor, bundle: Bundle) -> Sequence[Wanted]:
        return [Wanted("target", (target,)) for target in sorted(others_of(probabilities, bundle))]


@dataclass(frozen=True, eq=False)
class LabelTarget:
    """The class that the image is.

    Attributes:
        labels: (N,) int64, of all inputs.
    """

    labels: Tensor

    def wanted(self, index: int, probabilities: Tensor, bundle: Bundle) -> Sequence[Wanted]:
        return [Wanted("label", (int(self.labels[index]),))]


@dataclass(frozen=True)
class ListedTargets:
    """The rows of a targets file.

    Attributes:
        asked: (line number, class index) pairs of each image.
    """

    asked: Sequence[Sequence[tuple[int, int]]]

    def wanted(self, index: int, probabilities: Tensor, bundle: Bundle) -> Sequence[Wanted]:
        seen = int(probabilities.argmax())
        return [Wanted("target", (target,)) for _, target in self.asked[index] if target != seen]

    def left_out(self, index: int, probabilities: Tensor) -> list[int]:
        """The lines about an image that ask for what the classifier sees already."""
        seen = int(probabilities.argmax())
        return [line for line, target in self.asked[index] if target == seen]


def others_of(probabilities: Tensor, bundle: Bundle) -> list[int]:
    """The classes that the bundle's models were trained on, but the predicted one; the next higher index first."""
    seen, count, present = int(probabilities.argmax()), len(probabilities), set(bundle.present)
    return [target for step in range(1, count) if (target := (seen + step) % count) in present]
