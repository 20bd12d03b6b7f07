"""judge: an independent classifier that only scores, and whose features measure realism."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from ...judges.residual import ResidualNet
from ..classifier_fit import train_classifier
from ..context import TrainingContext
from ..measures import measure_classifier, verdict_on
from ..part import Made, Measured, Part, Verdict


@dataclass(frozen=True, kw_only=True)
class JudgePart(Part):
    """A residual network, trained on the judges' images."""

    makes: ClassVar[tuple[str, ...]] = ("judge",)
    invalidates: ClassVar[tuple[str, ...]] = ("reference",)
    optional: ClassVar[bool] = False

    epochs: float = 14.0
    steps: int = 3000  # on a user's images, instead of epochs
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of `ResidualNet` that differ from its defaults

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {"judge": 2.0}

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        torch.manual_seed(1)
        arguments = {"channels": context.sizes["channels"], "classes": context.count, "width": 24, **self.network}
        model = ResidualNet(**arguments)
        epochs = context.length(self.epochs, self.steps)
        train_classifier(context, model, "judge", epochs=epochs, seed=1, judges=True)
        return {"judge": Made(model, arguments)}

    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        return measure_classifier(model, context.split.test)

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        return judge_verdict(context, measured)


def judge_verdict(context: TrainingContext, measured: Measured) -> Verdict:
    """Whether a judge is nearly as accurate as the classifier whose counterfactuals it scores."""
    right = measured["test_accuracy"]
    classifier = context.bundle.parts.get("classifier")
    explained = None if classifier is None else classifier.measured.get("test_accuracy")
    says = f"right on {right:.1%} of test images"
    if explained is None:
        return Verdict(True, says)
    says = f"{says}, the explained classifier on {explained:.1%}"
    otherwise = "where it rejects a counterfactual, the judge itself may be wrong"
    return verdict_on(right >= explained - 0.05, says, otherwise)
