"""donors: real images of each class, as material for `swap`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...generative.donors import Donors
from ..context import TrainingContext
from ..part import Made, Part

LARGEST = 16_000_000  # bytes of all donors


@dataclass(frozen=True, kw_only=True)
class DonorsPart(Part):
    """Training images of the classifier's half, at its resolution: those of which it is surest.

    They are at most `count` of each class, and fewer if they would be too large.
    """

    makes: ClassVar[tuple[str, ...]] = ("donors",)
    needs: ClassVar[tuple[str, ...]] = ("classifier",)
    by_default: ClassVar[bool] = True

    count: int = 200  # per class, at most
    looked_at: int = 5  # images of a class that are looked at for each donor, at most
    sure: float = 0.95  # probability from which on no image is surer than another

    @torch.no_grad()
    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        shape = context.bundle.shape
        size = shape[0] * shape[1] * shape[2]
        count = max(1, min(self.count, LARGEST // size // len(context.present)))
        labels = context.split.train.labels
        wanted = torch.cat(
            [(labels == label).nonzero().flatten()[: self.looked_at * count] for label in context.present]
        )
        indices = wanted.sort().values
        probabilities = context.probabilities("train", int(indices.max()) + 1)[indices]
        confidence = probabilities.gather(1, labels[indices][:, None]).squeeze(1).clamp(max=self.sure)
        chosen: list[Tensor] = []
        for label in context.present:
            of_label = (labels[indices] == label).nonzero().flatten()
            surest = confidence[of_label].sort(descending=True, stable=True).indices[:count]
            chosen.append(indices[of_label[surest]])
        places = torch.cat(chosen).sort().values
        names = [context.name("train", place) for place in places.tolist()]
        model = Donors.of(to_full_resolution(context, places), labels[places], names)
        arguments: dict[str, object] = {
            "count": len(places),
            "channels": shape[0],
            "size": list(shape[1:]),
            "length": len(model.name_bytes),
        }
        return {"donors": Made(model, arguments)}


def to_full_resolution(context: TrainingContext, places: Tensor) -> Tensor:
    """Training images at the classifier's resolution, (N, C, H, W) uint8, by their places (N,) in ascending order."""
    chosen: list[Tensor] = []
    begin = 0
    for batch in context.photos("train", int(places[-1]) + 1):
        inside = places[(places >= begin) & (places < begin + len(batch))] - begin
        chosen.append((batch[inside] * 255).round().to(torch.uint8))
        begin += len(batch)
    return torch.cat(chosen)
