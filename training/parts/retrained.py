"""retrained: classifiers like the explained one, trained on its images with other seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from ...classifiers.ensemble import Ensemble
from ...judges.retrained import Retrained
from ..context import TrainingContext
from ..copies import CopiesPart, accuracies
from ..measures import is_chance, verdict_on
from ..part import Measured, Verdict


@dataclass(frozen=True, kw_only=True)
class RetrainedPart(CopiesPart):
    """Classifiers trained like the explained one with other seeds, but narrower to keep the bundle small."""

    makes: ClassVar[tuple[str, ...]] = ("retrained",)
    kind: ClassVar[type[Ensemble]] = Retrained
    seed: ClassVar[int] = 20
    weight: ClassVar[float] = 1.25
    optional: ClassVar[bool] = False

    count: int = 2

    @torch.inference_mode()
    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        rates = accuracies(model, context.split.test)
        return {"test_accuracy": round(sum(rates) / len(rates), 5)}

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        right = measured["test_accuracy"]
        if not is_chance(right, context.split.test):
            return None
        says = f"right on {right:.1%} of test images"
        return verdict_on(False, says, "", useless="no better than always predicting the most common class")
