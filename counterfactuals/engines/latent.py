"""latent: gradient ascent on the target's log-probability in the latent space of a VAE, pulled towards real images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...generative.anchors import LatentAnchors
from ..curve import Curve
from ..fidelity import Fidelity
from ..preset import PAPER, Preset
from ..problem import Problem
from ..search.ascent import Ascent, Cost, Search
from ..search.vae_engine import VAEEngine
from ..settings import setting

RESTART_STD_LATENT = 1.0  # latent standard deviations from the factual, for further answers
LATENT_CF = Preset(
    settings={
        "confidence": 0.5,
        "probability": 0.5,
        "prior_weight": 0.0,
        "typical": None,
        "second_start": False,
        "optimiser": "adam",
        "learning_rate": 0.05,
        "max_steps": 500,
        "tightened": False,
    },
    published="none on these data",
    differs="the search is in the bundle's VAE, which was trained to interpolate, instead of an autoencoder, has steps "
    "to suit it, and ends where the target first has the probability instead of within a tolerance of it",
)


@dataclass(frozen=True, kw_only=True)
class LatentAscent(VAEEngine):
    """Maximises log p(target | decode(z)) - prior_weight / 2 |z - prototype(z)|^2, starting at the factual's latent.

    The prototype is the mean of the latents of the real images of the target class that are nearest to z. Without it
    the search stops in the empty space between classes, where a VAE decodes blurred, faint images. The search ends,
    and is tightened, only where z is as close to a real image of the class as real images are to one another. Images
    that do not get there start a second search at the nearest real image.

    Sources: latent ascent from Joshi et al. 2019 (REVISE, arXiv 1907.09615) and Balasubramanian et al. 2020
    (Latent-CF, arXiv 2012.09301); prototypes of the nearest images from Van Looveren and Klaise 2019
    (arXiv 1907.02584, eq. 5), where they are fixed and chosen for the factual. The distance limit and the second
    start are ours, and the bundle's VAE is trained to draw well between images, too.
    """

    name: ClassVar[str] = "latent"
    summary: ClassVar[str] = "gradient ascent in the latent space of a VAE, pulled towards real images"
    paper: ClassVar[str] = "Balasubramanian et al. 2020, Latent-CF, arXiv 2012.09301"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "Latent-CF only follows the classifier; the pull towards real images of the target, the limit on the "
        "distance from them, the second start and a VAE trained to interpolate are additions",
    )
    presets: ClassVar[Mapping[str, Preset]] = {PAPER: LATENT_CF}
    rank: ClassVar[int] = 10
    needs: ClassVar[tuple[str, ...]] = ("vae", "anchors")

    anchors: LatentAnchors
    learning_rate: float = setting(0.2, "root mean square length of a step, in latent standard deviations", least=0)
    max_steps: int = setting(40, "steps at most", least=1)
    prior_weight: float = setting(
        1.0, "weight of a nat of the prior against a nat of the classifier's log-probability", least=0
    )
    neighbours: int = setting(3, "real images whose mean is the prototype", least=1)
    typical: float | None = setting(
        0.65,
        "share of real images with another real image within the limit; none: there is no limit",
        least=0,
        most=1,
    )
    probability: float | None = setting(
        None,
        "probability of the target to which the search is drawn, by the squared difference as in Latent-CF; none: "
        "its logarithm is maximised",
        least=0,
        most=1,
    )
    second_start: bool = setting(True, "whether images that do not get there start again, at the nearest real image")
    optimiser: Literal["adam-per-image", "adam", "gradient-descent"] = setting(
        "adam-per-image", "Adam with one second moment for each image, Adam, or plain gradient descent"
    )

    def find(self, problem: Problem) -> Curve:
        origin, _ = self.begin(problem)
        reach = None if self.typical is None else self.anchors.reach(self.typical)

        def penalty(latents: Tensor, rows: Tensor) -> Tensor:
            prototypes = self.anchors.nearest(latents.detach(), problem.targets[rows], self.neighbours).mean(dim=1)
            return self.prior_weight / 2 * (latents - prototypes).square().sum(dim=1)

        def near(latents: Tensor, rows: Tensor) -> Tensor:
            targets = problem.targets[rows]
            if reach is None:
                return torch.ones_like(targets, dtype=torch.bool)
            return self.anchors.distances(latents, targets).amin(dim=1) <= reach[targets]

        def between(t: Tensor, rows: Tensor) -> Tensor:
            return torch.lerp(origin[rows], state.best[rows], t[:, None])

        search = Search(
            decode=lambda latents, _rows: self.vae.decode(latents),
            learning_rate=self.learning_rate,
            max_steps=self.max_steps,
            optimiser=self.optimiser,
            cost=self._squared(problem),
            penalty=penalty if self.prior_weight else None,
            accept=near,
        )
        begin = problem.restarted(origin, RESTART_STD_LATENT)
        state = Ascent.at(begin)
        starts = [
            lambda rows: begin[rows],
            lambda rows: self.anchors.nearest(begin[rows], problem.targets[rows], count=1).squeeze(1),
        ]
        for start in starts if self.second_start else starts[:1]:
            rows = problem.every_row()[~state.done]
            if not len(rows):
                break
            state.climb(problem, start(rows), rows, search)
        return Curve(
            lambda t, rows: self.vae.decode(between(t, rows)),
            # Tightening moves only to points within the distance limit, even if the end is not within it.
            accept=lambda t, rows: near(between(t, rows), rows),
        )

    def _squared(self, problem: Problem) -> Cost | None:
        """The squared difference of the target's probability from the one that is sought; None: none is."""
        wanted = self.probability
        if wanted is None:
            return None
        return lambda log_probabilities, rows: ((-problem.cost(log_probabilities, rows)).exp() - wanted).square()
