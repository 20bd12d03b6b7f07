"""retrained: the explained classifier trained again with other seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from ...judges.retrained import Retrained
from ..classifier_fit import train_classifier
from ..context import TrainingContext
from ..measures import accuracy, is_chance, verdict_on
from ..part import Made, Measured, Part, Verdict


@dataclass(frozen=True, kw_only=True)
class RetrainedPart(Part):
    """Classifiers trained like the explained one with other seeds, but narrower to keep the bundle small."""

    makes: ClassVar[tuple[str, ...]] = ("retrained",)
    needs: ClassVar[tuple[str, ...]] = ("classifier",)
    optional: ClassVar[bool] = False

    count: int = 2  # classifiers
    epochs: float = 20.0
    steps: int = 3000  # on a user's images, instead of epochs
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of each `ConvNet`

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {f"retrained-{place}": 2.5 / self.count for place in range(self.count)}

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        torch.manual_seed(20)
        options = {**context.sizes, "classes": context.count, **context.pixels, **self.network}
        model = context.begun("retrained", Retrained(count=self.count, **options))
        for place, member in enumerate(model.members):
            epochs = context.length(self.epochs, self.steps)
            train_classifier(context, member, f"retrained-{place}", epochs=epochs, seed=20 + place)
        return {"retrained": Made(model, {"count": self.count, **options})}

    @torch.inference_mode()
    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        assert isinstance(model, Retrained)
        rates = [accuracy(member, context.split.test) for member in model.members]
        return {"test_accuracy": round(sum(rates) / len(rates), 5)}

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        right = measured["test_accuracy"]
        if not is_chance(right, context.split.test):
            return None
        says = f"right on {right:.1%} of test images"
        return verdict_on(False, says, "", useless="no better than always predicting the most common class")

    def left_out(self, context: TrainingContext) -> str | None:
        return "cfx cannot retrain a classifier of your own" if context.is_foreign else None
