"""reference: features of real images in the judge, against which images are called real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...images.sets.labelled import Labelled
from ...judges.real_images import RealImages
from ...judges.residual import ResidualNet
from ..context import TrainingContext
from ..part import Made, Part


@dataclass(frozen=True, kw_only=True)
class ReferencePart(Part):
    """Judge features of training images, and how far the test images of each class are from them."""

    makes: ClassVar[tuple[str, ...]] = ("reference",)
    needs: ClassVar[tuple[str, ...]] = ("judge",)
    optional: ClassVar[bool] = False

    count: int = 500  # real images a class, at most
    levels: int = 200  # quantiles of the distance

    @torch.no_grad()
    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        judge = context.bundle.part("judge", ResidualNet)
        per_class = [context.split.judge_train.of_class(label) for label in range(context.count)]
        count = min(self.count, max(len(data) for data in per_class))
        features = judge.head.in_features
        arguments = {"classes": context.count, "count": count, "features": features, "levels": self.levels}
        model = RealImages(**arguments)
        for label in context.present:
            data = per_class[label][:count]
            model.features[label, : len(data)] = embed(judge, data).half()
        for label in context.present:
            found = embed(judge, context.split.test.of_class(label))
            distances = model.distance(found, torch.full((len(found),), label))
            model.distances[label] = distances.quantile(torch.linspace(0, 1, self.levels))
        return {"reference": Made(model, {**arguments})}


def embed(judge: ResidualNet, data: Labelled) -> Tensor:
    """The judge's features of a data set, (N, F)."""
    return torch.cat([judge.embed(part.floats()) for part in data.batches(500)])
