"""reference: the judge's features of real images and their sharpness, with which the realism of images is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...images.detail import measure_detail
from ...images.sets.labelled import Labelled
from ...judges.real_images import RealImages
from ...judges.residual import ResidualNet
from ..context import TrainingContext
from ..part import Made, Part
from ..sharpness import Details, fit_sharpness


@dataclass(frozen=True, kw_only=True)
class ReferencePart(Part):
    """The judge's features of its training images, the distances of each class's test images to them, and sharpness."""

    makes: ClassVar[tuple[str, ...]] = ("reference",)
    needs: ClassVar[tuple[str, ...]] = ("judge",)
    optional: ClassVar[bool] = False

    count: int = 500  # real images per class, at most
    levels: int = 200  # quantiles of the distance
    photos: int = 400  # images per class, on average, whose sharpness is measured, if they have to be read once more

    @torch.no_grad()
    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        judge = context.bundle.part("judge", ResidualNet)
        per_class = [context.split.judge_train.of_class(label) for label in range(context.count)]
        count = min(self.count, max(len(data) for data in per_class))
        features = judge.head.in_features
        details = measure_detail(context.split.judge_train.floats(slice(0, 1))).shape[1]
        arguments = {"classes": context.count, "count": count, "features": features, "levels": self.levels}
        model = RealImages(**arguments, details=details)
        for label in context.present:
            data = per_class[label][:count]
            model.features[label, : len(data)] = embed(judge, data).half()
        for label in context.present:
            found = embed(judge, context.split.test.of_class(label))
            distances = model.distance(found, torch.full((len(found),), label))
            model.distances[label] = distances.quantile(torch.linspace(0, 1, self.levels))
        assert model.sharpness is not None
        fit_sharpness(model.sharpness, self._details(context), context.present)
        return {"reference": Made(model, {**arguments, "details": details})}

    def _details(self, context: TrainingContext) -> Details:
        """The detail in the judges' training images; no network is involved that could know them better than others."""
        data = context.split.judge_train
        if context.is_resized:
            data = data[: self.photos * context.count]
        known = torch.isin(data.labels, torch.tensor(context.present))
        # Resized in the same two steps as answers: another way of resizing leaves another amount of fine detail.
        images = map(context.bundle.shrink, context.photos("judge_train", len(data)))
        found = Details.of(images, data.labels)
        return found[known]


def embed(judge: ResidualNet, data: Labelled) -> Tensor:
    """The judge's features of labelled images, (N, F)."""
    return torch.cat([judge.embed(batch.floats()) for batch in data.batches(500)])
