"""The contract of a trained part: how it is made, measured and judged. One file a part, in `parts/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ..bundles.bundle import Bundle
from .context import TrainingContext

Measured = dict[str, float]
"""Figures of images that a part was not trained on, by name; bundle.toml keeps them."""


@dataclass(frozen=True)
class Made:
    """A trained model and the arguments by which its class builds it again."""

    model: nn.Module
    arguments: dict[str, object]


@dataclass(frozen=True)
class Verdict:
    """Whether a part is good enough to be trusted, and why, in one sentence."""

    good: bool
    because: str


@dataclass(frozen=True)
class Sample:
    """What is drawn on the contact sheet.

    Attributes:
        images: (N, C, H, W) in the size that models work in, which no part was trained on.
        labels: (N,) their classes.
        probabilities: (N, K) what the explained classifier says of them.
        present: the classes that have images.
    """

    images: Tensor
    labels: Tensor
    probabilities: Tensor
    present: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Part(ABC):
    """One trained model of a bundle, or several that are trained jointly. Fields are what a recipe may set.

    Attributes:
        makes: the names under which bundle.toml lists what it makes; a recipe sets its fields by the first.
        needs: the parts that making or measuring it asks something of.
        invalidates: the parts that become invalid when it is made anew, because they store its outputs.
        optional: whether a bundle is finished without it. One that an engine of somebody else needs is: bundles that
            were made before it came stay finished.
    """

    makes: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]] = ()
    invalidates: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = True

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        """The trainings that it takes, by label, each with its share of a budget.

        Args:
            present: the classes that have images.
        """
        return {}

    @abstractmethod
    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        """Train, and return what `makes` names. Seeds everything random itself, so that it is the same each time.

        Raises:
            FitError: a loss is no longer a finite number.
            BundleError: a part that it needs is not there.
        """

    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        """What is measured of one of the models that it makes, as it will be stored; nothing by default."""
        return {}

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        """Whether that is good enough; None where nothing is judged."""
        return None

    def left_out(self, context: TrainingContext) -> str | None:
        """Why it cannot be made here at all; None where it can."""
        return None

    def sheet_rows(self, bundle: Bundle, sample: Sample) -> list[tuple[str, Tensor]]:
        """What the contact sheet shows of it: titles and images (N, C, H, W); nothing by default."""
        return []
