"""reference: the judge's features of real images, their sharpness and noise, which tell whether an image looks real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...images.sets.labelled import Labelled
from ...judges.real_images import LEAST_DISTANCE, RealImages
from ...judges.residual import ResidualNet
from ..context import TrainingContext
from ..matched_filter import BLUR, NOISE, Details, fit_filter, measure_effects, quantiles_of
from ..part import Made, Part


@dataclass(frozen=True, kw_only=True)
class ReferencePart(Part):
    """The judge's features of its training images, how held-out ones compare with them, and sharpness and noise.

    No test image has a part in it: those are what users ask about, and what `random-real` answers with.
    """

    makes: ClassVar[tuple[str, ...]] = ("reference",)
    needs: ClassVar[tuple[str, ...]] = ("judge",)
    optional: ClassVar[bool] = False

    count: int = 500  # real images per class, at most
    levels: int = 200  # quantiles of distance and margin
    photos: int = 400  # images per class, on average, whose detail is measured, if they have to be read once more

    @torch.no_grad()
    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        judge = context.bundle.part("judge", ResidualNet)
        per_class = [context.split.judge_train.of_class(label) for label in range(context.count)]
        count = min(self.count, max(len(data) for data in per_class))
        features = judge.head.in_features
        details, noises = self._details(context)
        arguments = {
            "classes": context.count,
            "count": count,
            "features": features,
            "levels": self.levels,
            "details": details.measures.shape[1],
            "noises": noises.measures.shape[1],
        }
        model = RealImages(**arguments)
        for label in context.present:
            data = per_class[label][:count]
            model.features[label, : len(data)] = embed(judge, data).half()
        self._compare(model, judge, context)
        assert model.sharpness is not None and model.noise is not None
        fit_filter(model.sharpness, details, context.present)
        fit_filter(model.noise, noises, context.present)
        return {"reference": Made(model, {**arguments})}

    def _compare(self, model: RealImages, judge: ResidualNet, context: TrainingContext) -> None:
        """Set the quantiles of distance and margin to those of images that the judge was not trained on."""
        held_out = context.split.judge_held_out
        known = torch.isin(held_out.labels, torch.tensor(context.present))
        found, labels = embed(judge, held_out)[known], held_out.labels[known]
        # Logarithms, since classes differ in how far apart their images are by a factor.
        distances = model.distance(found, labels).clamp(min=LEAST_DISTANCE).log()
        means = torch.stack([distances[labels == label].mean() for label in context.present])
        centred = distances - means[torch.searchsorted(torch.tensor(context.present), labels)]
        spread = quantiles_of(centred, labels, context.present, self.levels)
        model.distances[context.present] = (means[:, None] + spread).exp()
        model.margins[context.present] = quantiles_of(model.margin(found, labels), labels, context.present, self.levels)

    def _details(self, context: TrainingContext) -> list[Details]:
        """Blur and noise in the judges' training images; no network is involved that could know them from others."""
        data = context.split.judge_train
        if context.is_resized:
            data = data[: self.photos * context.count]
        known = torch.isin(data.labels, torch.tensor(context.present))
        # Resized in the same two steps as answers: another way of resizing leaves another amount of fine detail.
        images = map(context.bundle.shrink, context.photos("judge_train", len(data)))
        return [found[known] for found in measure_effects(images, data.labels, (BLUR, NOISE))]


def embed(judge: ResidualNet, data: Labelled) -> Tensor:
    """The judge's features of labelled images, (N, F)."""
    return torch.cat([judge.embed(batch.floats()) for batch in data.batches(500)])
