"""classifier: the classifier that is explained, if the user brought none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from ...classifiers.convolutional import ConvNet
from ..classifier_fit import train_classifier
from ..context import TrainingContext
from ..measures import is_chance, measure_classifier, verdict_on
from ..part import Made, Measured, Part, Verdict


@dataclass(frozen=True, kw_only=True)
class ClassifierPart(Part):
    """A small convolutional classifier, trained with mixup."""

    makes: ClassVar[tuple[str, ...]] = ("classifier",)
    optional: ClassVar[bool] = False
    classifies: ClassVar[bool] = True

    epochs: float = 20.0
    steps: int = 3000  # on a user's images, instead of epochs
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of `ConvNet` that differ from its defaults

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {"classifier": 3.0}

    def untrained(self, context: TrainingContext) -> Made:
        """The network with its initial weights."""
        torch.manual_seed(0)
        arguments = {**context.sizes, "classes": context.count, **context.pixels, **self.network}
        return Made(ConvNet(**arguments), arguments)

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        made = self.untrained(context)
        context.begun("classifier", made.model)
        train_classifier(context, made.model, "classifier", epochs=context.length(self.epochs, self.steps), seed=0)
        return {"classifier": made}

    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        return measure_classifier(model, context.split.test)

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        right, commonest = measured["test_accuracy"], measured["commonest_class"]
        baseline = f"always predicting the most common class would be right on {commonest:.1%}"
        says = f"right on {right:.1%} of test images; {baseline}"
        good = right >= commonest + 0.5 * (1 - commonest)
        nothing = is_chance(right, context.split.test)
        useless = "it is no better than that" if nothing else None
        return verdict_on(good, says, "it is too inaccurate for explanations to be useful", useless=useless)

    def left_out(self, context: TrainingContext) -> str | None:
        if context.is_foreign:
            return "the classifier is your own; create a new bundle with cfx init to explain another"
        return None
