"""ensemble: the explained classifier trained several times more, by which engines measure uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from ...classifiers.ensemble import Ensemble
from ...errors import UsageError
from ..classifier_fit import train_classifier
from ..context import TrainingContext
from ..measures import accuracy, is_chance, share, verdict_on
from ..part import Made, Measured, Part, Verdict

SEED = 40  # of the first member; other parts use smaller ones


@dataclass(frozen=True, kw_only=True)
class EnsemblePart(Part):
    """Classifiers trained like the explained one, on its images, with other seeds. Never `retrained`: it scores."""

    makes: ClassVar[tuple[str, ...]] = ("ensemble",)
    needs: ClassVar[tuple[str, ...]] = ("classifier",)

    count: int = 4  # classifiers
    epochs: float = 20.0
    steps: int = 3000  # on a user's images, instead of epochs
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of each `ConvNet`

    def __post_init__(self) -> None:
        if self.count < 2:
            raise UsageError(f"ensemble: count = {self.count}; one classifier cannot disagree with itself, take two")

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {f"ensemble-{place}": 1.5 for place in range(self.count)}

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        torch.manual_seed(SEED)
        options = {**context.sizes, "classes": context.count, **context.pixels, **self.network}
        model = context.begun("ensemble", Ensemble(count=self.count, **options))
        for place, member in enumerate(model.members):
            epochs = context.length(self.epochs, self.steps)
            train_classifier(context, member, f"ensemble-{place}", epochs=epochs, seed=SEED + place)
        return {"ensemble": Made(model, {"count": self.count, **options})}

    @torch.inference_mode()
    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        """The members' mean accuracy, and how often not all of them predict the same class."""
        assert isinstance(model, Ensemble)
        test = context.split.test
        rates = [accuracy(member, test) for member in model.members]
        predicted = torch.cat([model(batch.floats()).argmax(dim=2) for batch in test.batches(500)], dim=1)
        return {
            "test_accuracy": round(sum(rates) / len(rates), 5),
            "least_accuracy": round(min(rates), 5),
            "disagree": share((predicted != predicted[0]).any(dim=0)),
        }

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        right, least = measured["test_accuracy"], measured["least_accuracy"]
        says = f"its classifiers are right on {right:.1%} of test images and disagree on {measured['disagree']:.1%}"
        nothing = is_chance(least, context.split.test)
        useless = "one of them is no better than always predicting the most common class" if nothing else None
        return verdict_on(True, says, "", useless=useless)

    def left_out(self, context: TrainingContext) -> str | None:
        return "cfx cannot retrain a classifier of your own" if context.is_foreign else None
