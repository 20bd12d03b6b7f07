"""ensemble: the explained classifier trained several times more, by which engines measure uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from ...classifiers.ensemble import Ensemble
from ...errors import UsageError
from ..context import TrainingContext
from ..copies import CopiesPart, accuracies
from ..measures import is_chance, share, verdict_on
from ..part import Measured, Verdict


@dataclass(frozen=True, kw_only=True)
class EnsemblePart(CopiesPart):
    """Classifiers trained like the explained one, on its images, with other seeds. Never `retrained`: it scores."""

    makes: ClassVar[tuple[str, ...]] = ("ensemble",)
    kind: ClassVar[type[Ensemble]] = Ensemble
    seed: ClassVar[int] = 40
    weight: ClassVar[float] = 1.5
    in_trial: ClassVar[bool] = False

    count: int = 4

    def __post_init__(self) -> None:
        if self.count < 2:
            raise UsageError(f"ensemble: count = {self.count}; one classifier cannot disagree with itself, take two")

    @torch.inference_mode()
    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        """The members' mean accuracy, and how often not all of them predict the same class."""
        assert isinstance(model, Ensemble)
        test = context.split.test
        rates = accuracies(model, test)
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
