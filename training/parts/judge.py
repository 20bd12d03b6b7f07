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
from ..measures import is_chance, measure_classifier, verdict_on
from ..part import Made, Measured, Part, Verdict

RIGHT_ENOUGH = 0.75  # accuracy of a good judge, however bad the classifier is
BEHIND = 0.05  # how much less accurate than the classifier a good judge may be


class JudgingPart(Part):
    """A judge that classifies."""

    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        return measure_classifier(model, context.split.test)

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        """Whether it is accurate, and nearly as accurate as the classifier whose counterfactuals it scores."""
        right = measured["test_accuracy"]
        classifier = context.bundle.parts.get("classifier")
        explained = None if classifier is None else classifier.measured.get("test_accuracy")
        says = f"right on {right:.1%} of test images"
        if is_chance(right, context.split.test):
            return verdict_on(False, says, "", useless="no better than always predicting the most common class")
        if explained is not None:
            says = f"{says}, the explained classifier on {explained:.1%}"
        good = right >= max(RIGHT_ENOUGH, 0.0 if explained is None else explained - BEHIND)
        return verdict_on(good, says, "where it rejects a counterfactual, the judge itself may be wrong")


@dataclass(frozen=True, kw_only=True)
class JudgePart(JudgingPart):
    """A residual network, trained on the judges' images."""

    makes: ClassVar[tuple[str, ...]] = ("judge",)
    invalidates: ClassVar[tuple[str, ...]] = ("reference",)
    optional: ClassVar[bool] = False
    classifies: ClassVar[bool] = True

    epochs: float = 14.0
    steps: int = 3000  # on a user's images, instead of epochs
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of `ResidualNet` that differ from its defaults

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {"judge": 2.0}

    def arguments(self, channels: int, classes: int) -> dict[str, Any]:
        """Those of its `ResidualNet`."""
        return {"channels": channels, "classes": classes, "width": 24, **self.network}

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        torch.manual_seed(1)
        arguments = self.arguments(context.sizes["channels"], context.count)
        model = context.begun("judge", ResidualNet(**arguments))
        epochs = context.length(self.epochs, self.steps)
        train_classifier(context, model, "judge", epochs=epochs, seed=1, judges=True)
        return {"judge": Made(model, arguments)}
