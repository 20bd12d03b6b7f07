"""revise: gradient ascent in the latent space of a VAE, with a penalty on the distance to the factual in pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..curve import Curve
from ..fidelity import Fidelity
from ..preset import PAPER, Preset
from ..problem import Problem
from ..search.ascent import Ascent, Search
from ..search.vae_engine import VAEEngine
from ..settings import setting

RESTART_STD_LATENT = 1.0  # latent standard deviations from the factual, for further answers
AS_PUBLISHED = Preset(
    settings={
        "confidence": 0.5,
        "distance_weights": (1.0,),
        "optimiser": "gradient-descent",
        "learning_rate": 1e-4,
        "max_steps": 5_000,
        "tightened": False,
    },
    published="valid 650 of 900, L1 54.3, 748 pixels changed (Höltgen et al. 2021, notebook of their code, MNIST)",
    differs="the VAE is the bundle's, and steps are ten times as long as in that code, and a tenth as many, which ends "
    "at the same place in a tenth of the time",
)


@dataclass(frozen=True, kw_only=True)
class Revise(VAEEngine):
    """Minimises -log p(target | decode(z)) + weight * |x - decode(z)|_1, starting at the factual's latent.

    The search stops at the first valid image. With one weight for all images, most of them get stuck where the
    distance outweighs the classifier. Images that are not valid after `max_steps` therefore go on from their best
    point with the next smaller weight. If the VAE's reconstruction error is kept (`residual`), the distance is that
    between decode(z) and the factual's reconstruction.

    Sources: Joshi et al. 2019, REVISE, arXiv 1907.09615 (the loss, with one weight); the code of Höltgen et al. 2021
    (arXiv 2111.15639) has the weight 1 and 50 000 steps of plain gradient descent of size 1e-5. The falling weights
    and the normalised steps are ours.
    """

    name: ClassVar[str] = "revise"
    summary: ClassVar[str] = "gradient ascent in the latent space of a VAE, near the image in pixels"
    paper: ClassVar[str] = "Joshi et al. 2019, REVISE, arXiv 1907.09615"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "REVISE has one weight of the distance and plain gradient descent; here the weight falls where an image "
        "is not valid, and steps are normalised",
    )
    presets: ClassVar[Mapping[str, Preset]] = {PAPER: AS_PUBLISHED}
    rank: ClassVar[int] = 15

    distance_weights: tuple[float, ...] = setting(
        (0.1, 0.03, 0.01, 0.0),
        "nats for a change of one pixel from black to white, downwards; one number: no smaller weight is tried",
        least=0,
    )
    learning_rate: float = setting(0.2, "root mean square length of a step, in latent standard deviations", least=0)
    max_steps: int = setting(80, "steps at most with each weight", least=1)
    optimiser: Literal["adam-per-image", "adam", "gradient-descent"] = setting(
        "adam-per-image",
        "Adam with one second moment for each image, Adam, or plain gradient descent, which multiplies the gradient by "
        "the learning rate",
    )

    def find(self, problem: Problem) -> Curve:
        origin, start = self.begin(problem)

        state = Ascent.at(problem.restarted(origin, RESTART_STD_LATENT))
        for weight in self.distance_weights:
            rows = problem.every_row()[~state.done]
            if not len(rows):
                break

            def penalty(latents: Tensor, rows: Tensor, weight: float = weight) -> Tensor:
                return weight * (self.vae.decode(latents) - start[rows]).abs().flatten(1).sum(dim=1)

            search = Search(
                decode=lambda latents, _rows: self.vae.decode(latents),
                learning_rate=self.learning_rate,
                max_steps=self.max_steps,
                optimiser=self.optimiser,
                penalty=penalty,
            )
            state.climb(problem, state.best[rows], rows, search)
        return Curve(lambda t, rows: self.vae.decode(torch.lerp(origin[rows], state.best[rows], t[:, None])))
