"""delta-clue: as clue, but within a ball around the image's latent, from a random start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..fidelity import Fidelity
from ..preset import PAPER, Preset
from ..problem import Problem
from ..search.ascent import Ascent, Search
from ..settings import setting
from .clue import AS_IN_CODE, Clue

AS_PUBLISHED = Preset(
    settings={**AS_IN_CODE, "starts": 10},
    published="curves, and no table, on these data",
    differs="of ten random starts, in the same directions for every image, the one of least cost is the answer, where "
    "the paper shows a set of about a hundred (`--count K` has further ones); uncertainty is as in `clue`",
    needs=("ensemble",),
)


@dataclass(frozen=True, kw_only=True)
class DeltaClue(Clue):
    """CLUE within |z - z_0| <= delta, from a random start in that ball: different starts give different answers.

    How much the ball limits is how far an explanation may be; with `--count K` the answers show that there are several
    ways to become sure. Every step that leaves the ball is projected back onto it. Source: Ley et al. 2022, Diverse,
    Global and Amortised Counterfactual Explanations for Uncertainty Estimates, arXiv 2112.02646, algorithm 1.
    """

    name: ClassVar[str] = "delta-clue"
    summary: ClassVar[str] = "as clue, within a ball around the image's latent, from a random start"
    paper: ClassVar[str] = "Ley et al. 2022, delta-CLUE, arXiv 2112.02646"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "one random start for each answer, in the same direction for every image, where the paper has many; the "
        "search ends at the first valid image, which is tightened",
    )
    presets: ClassVar[Mapping[str, Preset]] = {PAPER: AS_PUBLISHED}
    rank: ClassVar[int] = 81

    delta: float = setting(3.0, "radius of the ball, in latent standard deviations", least=0.01)
    starts: int = setting(
        1, "random starts for each answer, of which the one that ends at the least cost counts", least=1
    )

    def searched(self, problem: Problem, origin: Tensor, search: Search) -> Tensor:
        """Where the best of the searches from random starts ends, (N, D): a valid one, if there is any."""
        rows, random = problem.every_row(), problem.random()
        best, lowest = origin.clone(), torch.full_like(origin[:, 0], torch.inf)
        valid = torch.zeros_like(rows, dtype=torch.bool)
        for _ in range(self.starts):
            begin = self._random_start(origin, random)
            state = Ascent.at(begin)
            state.climb(problem, begin, rows, search)
            if self.starts == 1:
                return state.best
            log_probabilities = problem.log_probabilities(search.decode(state.best, rows), rows)
            good, _ = problem.met(log_probabilities, rows)
            cost = search.total(problem, log_probabilities, state.best, rows)
            better = (good & ~valid) | ((good == valid) & (cost < lowest))
            best[better], lowest[better] = state.best[better], cost[better]
            valid |= good
        return best

    def confined(self, latents: Tensor, origin: Tensor) -> Tensor:
        """Latents outside of the ball are moved to its surface."""
        change = latents - origin
        length = change.square().sum(dim=1, keepdim=True).add(1e-12).sqrt()
        return origin + change * (self.delta / length).clamp(max=1)

    def _random_start(self, origin: Tensor, random: torch.Generator) -> Tensor:
        """The next random point of the ball, the same for every image, (N, D)."""
        direction = torch.randn(origin.shape[1], generator=random, device="cpu")
        length = self.delta * float(torch.rand((), generator=random, device="cpu")) ** (1 / len(direction))
        return origin + (length * direction / direction.norm()).to(origin)
