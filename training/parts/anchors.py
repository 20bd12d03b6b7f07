"""anchors: latents of real images in the VAE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...generative.anchors import LatentAnchors
from ...generative.vae import VAE
from ...images.sets.labelled import in_batches
from ..context import TrainingContext
from ..part import Made, Part


@dataclass(frozen=True, kw_only=True)
class AnchorsPart(Part):
    """Latents of the first images of each class whose reconstruction the classifier recognises confidently.

    If a class has too few of those, the images with the next highest confidence follow.
    """

    makes: ClassVar[tuple[str, ...]] = ("anchors",)
    needs: ClassVar[tuple[str, ...]] = ("classifier", "vae")
    optional: ClassVar[bool] = False

    count: int = 200  # per class, at most
    sure: float = 0.95  # probability of the class from which on the classifier counts as confident

    @torch.no_grad()
    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        vae = context.bundle.part("vae", VAE)
        per_class = [context.split.train.of_class(label)[: 10 * self.count] for label in range(context.count)]
        count = min(self.count, max(len(data) for data in per_class))
        arguments = {"classes": context.count, "count": count, "latents": context.recipe.latents}
        model = LatentAnchors(**arguments)
        for label, data in enumerate(per_class):
            if not len(data):
                continue
            latents = in_batches(vae.encode, data.floats())
            drawn = in_batches(vae.decode, latents)
            confidence = context.probabilities_of(drawn)[:, label]
            # A stable sort keeps the order of the data among all confident ones.
            order = confidence.clamp(max=self.sure).sort(descending=True, stable=True).indices[:count]
            model.latents[label, : len(order)] = latents[order]
        return {"anchors": Made(model, {**arguments})}
