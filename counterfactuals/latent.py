"""latent: gradient ascent on the target's log-probability in the latent space of a VAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..generative.anchors import LatentAnchors
from ..generative.contract import GenerativeModel
from .ascent import Ascent
from .engine import Curve, Engine, Question


@dataclass(frozen=True, kw_only=True)
class LatentAscent(Engine):
    """Ascend log p(target | decode(z)) - prior_weight * d(z), from the factual's own latent.

    d is half the squared Mahalanobis distance to the latents of real images of the target class: without it
    the search stops in the empty space between classes, where a VAE draws grey ghosts. Images that do not
    get there set out again from the nearest real image of the target class.

    Latent ascent is Joshi et al. 2019 (REVISE, arXiv 1907.09615) and Balasubramanian et al. 2020 (Latent-CF,
    arXiv 2012.09301); the prior and the second start are ours.
    """

    name: ClassVar[str] = "latent"
    summary: ClassVar[str] = "gradient ascent in the latent space of a VAE"
    paper: ClassVar[str] = "Balasubramanian et al. 2020, Latent-CF, arXiv 2012.09301"
    needs: ClassVar[tuple[str, ...]] = ("vae", "anchors")

    vae: GenerativeModel
    anchors: LatentAnchors
    learning_rate: float = 0.2  # root mean square length of a step, in latent standard deviations
    max_steps: int = 120
    prior_weight: float = 0.3  # nats of the classifier for one nat of the prior
    residual: bool = False  # keep what the model cannot draw: x + decode(z) - decode(z0)

    def find(self, question: Question) -> Curve:
        origin = self.vae.encode(question.images)
        rest = question.images - self.vae.decode(origin) if self.residual else None

        def decode(latents: Tensor, rows: Tensor) -> Tensor:
            images = self.vae.decode(latents)
            return images if rest is None else images + rest[rows]

        def penalty(latents: Tensor, rows: Tensor) -> Tensor:
            return self.prior_weight * self.anchors.distance(latents, question.targets[rows])

        state = Ascent.at(origin)
        starts = [lambda rows: origin[rows], lambda rows: self._nearest(origin, question.targets, rows)]
        for start in starts:
            rows = question.every_row()[~state.valid]
            if not len(rows):
                break
            state.climb(
                question,
                start(rows),
                decode,
                rows=rows,
                learning_rate=self.learning_rate,
                max_steps=self.max_steps,
                penalty=penalty,
            )
        return Curve(lambda shares, rows: decode(torch.lerp(origin[rows], state.best[rows], shares[:, None]), rows))

    def _nearest(self, origin: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        return self.anchors.nearest(origin[rows], targets[rows], count=1).squeeze(1)
