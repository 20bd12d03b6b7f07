"""The contract of a trained part: how it is made and measured, and when it is good. Each has a file in `parts/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ..bundles.bundle import Bundle
from ..bundles.entries import Grade
from .context import TrainingContext

Measured = dict[str, float]
"""Figures measured on images that a part was not trained on, by name; stored in bundle.toml."""


@dataclass(frozen=True)
class Made:
    """A trained model and the constructor arguments that rebuild it."""

    model: nn.Module
    arguments: dict[str, object]


@dataclass(frozen=True)
class Verdict:
    """How far a part can be trusted, and the reason in one sentence."""

    grade: Grade
    because: str


@dataclass(frozen=True)
class Sample:
    """The images shown on the contact sheet.

    Attributes:
        images: (N, C, H, W) at the working resolution, on which no part was trained.
        labels: (N,) their classes.
        probabilities: (N, K) the explained classifier's probabilities.
        present: the classes that have images.
    """

    images: Tensor
    labels: Tensor
    probabilities: Tensor
    present: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Part(ABC):
    """One trained model of a bundle, or several that are trained jointly. A recipe may set its fields.

    Attributes:
        makes: the names of its models in bundle.toml; a recipe refers to the part by the first.
        needs: the parts that are used to make or measure it.
        invalidates: the parts that become invalid when it is retrained, because they store its outputs.
        optional: whether a bundle is complete without it. True by default, so that bundles made before a part was
            added stay complete.
        by_default: whether a new bundle wants it, although it is optional.
        patient: whether it takes so long that it is left out if a time budget is not enough for all parts.
        least: the share of its time in which the smallest of its networks can be trained.
        classifies: whether it is a classifier or a judge: those get up to half of a time budget, for without them the
            rest is worth nothing.
        in_trial: whether the trial of the engines, at the end of a training, depends on it, and is repeated when it is
            remade.

    Examples:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class EdgesPart(Part):  # training/parts/anchors.py is the shortest real one
        ...     makes, channels = ("edges",), 4
        ...     def make(self, context):
        ...         return {"edges": Made(nn.Conv2d(1, self.channels, 3), {"channels": self.channels})}
        ...     def verdict(self, context, name, measured):
        ...         return Verdict("weak", "it misses edges") if measured["recall"] < 0.9 else None
        >>> part = EdgesPart()
        >>> part.make(context=None)["edges"].arguments  # what bundle.toml says of the network
        {'channels': 4}
        >>> part.verdict(context=None, name="edges", measured={"recall": 0.8})
        Verdict(grade='weak', because='it misses edges')
    """

    makes: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]] = ()
    invalidates: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = True
    by_default: ClassVar[bool] = False
    patient: ClassVar[bool] = False
    least: ClassVar[float] = 1.0
    classifies: ClassVar[bool] = False
    in_trial: ClassVar[bool] = True

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        """The labels of its fits, each with its share of a time budget.

        Args:
            present: the classes that have images.
        """
        return {}

    @abstractmethod
    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        """Train the models that `makes` names, and return them. Seeds all random numbers, so the result is repeatable.

        Raises:
            FitError: a loss is NaN or infinite.
            BundleError: a part that it needs is missing.
        """

    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        """Figures of one of its models, at the precision at which it will be stored; none by default."""
        return {}

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        """Whether the measured figures are good enough; None if the part has no criterion."""
        return None

    def left_out(self, context: TrainingContext) -> str | None:
        """Why it cannot be made for this bundle; None if it can."""
        return None

    def sheet_rows(self, bundle: Bundle, sample: Sample) -> list[tuple[str, Tensor]]:
        """Its rows on the contact sheet: titles and images (N, C, H, W); none by default."""
        return []
