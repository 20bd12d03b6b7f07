"""referee: a judge that nothing is chosen by, and so one whose opinion nobody could have fitted anything to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from ...judges.mixer import ConvMixer
from ..classifier_fit import train_classifier
from ..context import TrainingContext
from ..part import Made
from .judge import JudgingPart

PLACES = 14  # patches along the longer side of an image, about


@dataclass(frozen=True, kw_only=True)
class RefereePart(JudgingPart):
    """A convolutional mixer, trained on the judges' images. Neither a trial nor the verdict on another part asks it."""

    makes: ClassVar[tuple[str, ...]] = ("referee",)
    by_default: ClassVar[bool] = True
    in_trial: ClassVar[bool] = False
    # Not `classifies`, although it is a judge: without it, all else is worth as much, and its share stays small.

    epochs: float = 10.0
    steps: int = 2000  # on a user's images, instead of epochs
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of `ConvMixer` that differ from its defaults

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {"referee": 1.5}

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        torch.manual_seed(12)
        patch = max(2, round(max(context.sizes["size"]) / PLACES))
        arguments = {
            "channels": context.sizes["channels"], "classes": context.count, "patch": patch, **self.network
        }  # fmt: skip
        model = context.begun("referee", ConvMixer(**arguments))
        epochs = context.length(self.epochs, self.steps)
        train_classifier(context, model, "referee", epochs=epochs, seed=12, judges=True)
        return {"referee": Made(model, arguments)}
