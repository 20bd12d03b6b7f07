"""reference: the judge's features of real images, with which the realism of other images is measured."""

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
    """The judge's features of its training images, and the distances of each class's test images to them."""

    makes: ClassVar[tuple[str, ...]] = ("reference",)
    needs: ClassVar[tuple[str, ...]] = ("judge",)
    optional: ClassVar[bool] = False

    count: int = 500  # real images per class, at most
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
    """The judge's features of labelled images, (N, F)."""
    return torch.cat([judge.embed(batch.floats()) for batch in data.batches(500)])
