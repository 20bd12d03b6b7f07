"""second_judge: a judge of another architecture, which makes other mistakes than the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch

from ...classifiers.convolutional import ConvNet
from ...judges.transformer import PatchTransformer
from ..classifier_fit import train_classifier
from ..context import TrainingContext
from ..part import Made
from .judge import JudgingPart


@dataclass(frozen=True, kw_only=True)
class SecondJudgePart(JudgingPart):
    """A transformer, which trains slowly, or a convolutional network, which trains quickly."""

    makes: ClassVar[tuple[str, ...]] = ("second_judge",)
    optional: ClassVar[bool] = False
    classifies: ClassVar[bool] = True

    architecture: Literal["PatchTransformer", "ConvNet"] = "PatchTransformer"
    epochs: float = 24.0
    steps: int = 3000  # on a user's images, instead of epochs
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments that differ from the architecture's defaults

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {"second_judge": 1.5}

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        torch.manual_seed(6)
        arguments: dict[str, Any] = {**context.sizes, "classes": context.count, **self.network}
        if self.architecture == "ConvNet":
            arguments |= context.pixels
            model = ConvNet(**arguments)
        else:
            model = PatchTransformer(**arguments)
        model = context.begun("second_judge", model)
        epochs = context.length(self.epochs, self.steps)
        train_classifier(context, model, "second_judge", epochs=epochs, seed=6, judges=True)
        return {"second_judge": Made(model, arguments)}
