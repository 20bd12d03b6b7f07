"""Parts that are the explained classifier trained again, several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from ..classifiers.ensemble import Ensemble
from ..images.sets.labelled import Labelled
from .classifier_fit import train_classifier
from .context import TrainingContext
from .measures import accuracy
from .part import Made, Part


@dataclass(frozen=True, kw_only=True)
class CopiesPart(Part):
    """Classifiers trained like the explained one, on its images, with other seeds.

    Attributes:
        kind: the class of the model that holds them.
        seed: of the first classifier; the next ones have the next seeds.
        weight: of the time of one classifier, against those of other fits.
    """

    kind: ClassVar[type[Ensemble]]
    seed: ClassVar[int]
    weight: ClassVar[float]
    needs: ClassVar[tuple[str, ...]] = ("classifier",)

    count: int  # classifiers
    epochs: float = 20.0
    steps: int = 3000  # on a user's images, instead of epochs
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of each `ConvNet`

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {f"{self.makes[0]}-{place}": self.weight for place in range(self.count)}

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        (name,) = self.makes
        torch.manual_seed(self.seed)
        options = {**context.sizes, "classes": context.count, **context.pixels, **self.network}
        model = context.begun(name, self.kind(count=self.count, **options))
        for place, member in enumerate(model.members):
            epochs = context.length(self.epochs, self.steps)
            train_classifier(context, member, f"{name}-{place}", epochs=epochs, seed=self.seed + place)
        return {name: Made(model, {"count": self.count, **options})}

    def left_out(self, context: TrainingContext) -> str | None:
        return "cfx cannot retrain a classifier of your own" if context.is_foreign else None


def accuracies(model: nn.Module, test: Labelled) -> list[float]:
    """The accuracy of each classifier of an ensemble."""
    assert isinstance(model, Ensemble)
    return [accuracy(member, test) for member in model.members]
