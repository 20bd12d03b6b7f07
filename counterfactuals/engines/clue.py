"""clue: what would make the classifier sure, by descending its uncertainty in a latent space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...classifiers.introspection.uncertainty import entropy
from ..curve import About, Curve
from ..fidelity import Fidelity
from ..preset import PAPER, Preset
from ..problem import Problem
from ..search.ascent import Ascent, Penalty, Plateau, Search
from ..search.committee import Committee, Ensemble, before_and_after
from ..search.vae_engine import VAEEngine
from ..settings import setting

AS_IN_CODE: Mapping[str, object] = {
    "learning_rate": 0.1,
    "max_steps": 25,
    "distance_weight": 2.0,
    "optimiser": "adam",
    "plateau": True,
    "tightened": False,
}
"""The settings of the code of Antorán et al. 2021."""
AS_PUBLISHED = Preset(
    settings=AS_IN_CODE,
    published="curves, and no table, on these data",
    differs="the entropies of the classifier and of an ensemble's mean are added, where the paper has one Bayesian "
    "network; the VAE is the bundle's",
    needs=("ensemble",),
)


@dataclass(frozen=True, kw_only=True)
class Clue(VAEEngine):
    """Minimises H(y | decode(z)) + weight * |x - decode(z)|_1 over z, starting at the image's latent.

    The entropy is the sum of that of the classifier and that of the mean of an ensemble: both must become sure, of
    whichever class they find. Where there is no ensemble, networks that dropout makes of the classifier stand in for it
    (Gal and Ghahramani 2016, arXiv 1506.02142); without dropout, only the classifier must become sure.

    Source: Antorán et al. 2021, Getting a CLUE, arXiv 2006.06848, equation 2 and section 3; there the classifier is
    Bayesian. The search ends at the first image that is valid, and is tightened; there it ends at a plateau.
    """

    name: ClassVar[str] = "clue"
    summary: ClassVar[str] = "what would make the classifier sure: least uncertainty near the image, in a VAE"
    paper: ClassVar[str] = "Antorán et al. 2021, CLUE, arXiv 2006.06848"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "the entropies of the classifier and of an ensemble's mean stand in for that of a Bayesian network, and "
        "the search ends at the first valid image, which is tightened, instead of at a plateau",
    )
    presets: ClassVar[Mapping[str, Preset]] = {PAPER: AS_PUBLISHED}
    rank: ClassVar[int] = 80
    uses: ClassVar[tuple[str, ...]] = ("ensemble",)
    any_class: ClassVar[bool] = True
    candidate: ClassVar[bool] = False

    ensemble: Ensemble | None = None
    dropouts: int = setting(
        8, "networks that dropout makes of the classifier, where there is no ensemble; 0: none", least=0
    )
    learning_rate: float = setting(
        0.1, "root mean square length of a step, in latent standard deviations", source="Antorán et al. 2021", least=0
    )
    max_steps: int = setting(100, "steps at most", least=1)
    distance_weight: float = setting(
        2.0, "nats for the L1 distance divided by the number of values", source="Antorán et al. 2021, code", least=0
    )
    spread: float = setting(
        0.15,
        "standard deviation of the start around the image's latent, for further answers",
        source="Antorán et al. 2021, code",
        least=0,
    )
    optimiser: Literal["adam-per-image", "adam", "gradient-descent"] = setting(
        "adam-per-image", "Adam with one second moment for each image, Adam, or plain gradient descent"
    )
    plateau: bool = setting(
        False, "whether the search ends where the objective hardly changes any more, instead of at a valid image"
    )

    def find(self, problem: Problem) -> Curve:
        origin, start = self.begin(problem)
        weight = self.distance_weight / start[0].numel()
        others = self.others(problem)
        committee = Committee.of(problem, self.ensemble, self.dropouts)

        def decode(latents: Tensor, rows: Tensor) -> Tensor:
            return self.vae.decode(latents)

        def penalty(latents: Tensor, rows: Tensor) -> Tensor:
            images = decode(latents, rows)
            cost = weight * (images - start[rows]).abs().flatten(1).sum(dim=1)
            if committee is not None:
                cost = cost + entropy(committee.probabilities(problem, images, rows).mean(dim=0))
            return cost if others is None else cost + others(latents, rows)

        def accept(latents: Tensor, rows: Tensor) -> Tensor:
            if committee is None:
                return torch.ones(len(rows), dtype=torch.bool, device=rows.device)
            mean = committee.probabilities(problem, decode(latents, rows), rows).mean(dim=0)
            return mean.amax(dim=1) >= self.confidence

        search = Search(
            decode=decode,
            learning_rate=self.learning_rate,
            max_steps=self.max_steps,
            optimiser=self.optimiser,
            penalty=penalty,
            project=lambda latents, rows: self.confined(latents, origin[rows]),
            plateau=Plateau() if self.plateau else None,
            accept=accept,
        )
        best = self.searched(problem, origin, search)

        def between(t: Tensor, rows: Tensor) -> Tensor:
            return torch.lerp(origin[rows], best[rows], t[:, None])

        def about(t: float, row: int) -> About:
            rows = torch.tensor([row], device=origin.device)
            image = self.vae.decode(between(torch.tensor([t], device=origin.device), rows))
            return About(notes=(before_and_after(problem, committee, image, row),))

        return Curve(
            lambda t, rows: self.vae.decode(between(t, rows)),
            accept=lambda t, rows: accept(between(t, rows), rows),
            about=about,
        )

    def searched(self, problem: Problem, origin: Tensor, search: Search) -> Tensor:
        """Where the search from the images' latents `origin` (N, D) ends, (N, D)."""
        begin = self.beginning(problem, origin)
        state = Ascent.at(begin)
        state.climb(problem, begin, problem.every_row(), search)
        return state.best

    def confined(self, latents: Tensor, origin: Tensor) -> Tensor:
        """Latents (M, D) within the space that may be searched around their origins (M, D): here everywhere."""
        return latents

    def beginning(self, problem: Problem, origin: Tensor) -> Tensor:
        """Where the search begins, (N, D)."""
        return problem.restarted(origin, self.spread)

    def others(self, problem: Problem) -> Penalty | None:
        """A cost (M,) of latents (M, D) that are near those of earlier answers; None: there is none."""
        return None
