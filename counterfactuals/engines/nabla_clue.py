"""nabla-clue: as delta-clue, but away from the answers that were found before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..curve import Curve
from ..fidelity import Fidelity
from ..preset import PAPER, Preset
from ..problem import Problem
from ..search.ascent import Ascent, Penalty, Search
from ..settings import setting
from .clue import AS_IN_CODE
from .delta_clue import DeltaClue

MIN_DETERMINANT = 1e-6  # of the determinant
AS_PUBLISHED = Preset(
    settings={**AS_IN_CODE, "starts": 1, "label_weight": 0.0},
    published="curves, and no table, on these data",
    differs="answers are sought one after another, the paper's sequential scheme, with the logarithm of the "
    "determinant, from random points of a ball; uncertainty is as in `clue`",
    needs=("ensemble",),
)


@dataclass(frozen=True, kw_only=True)
class NablaClue(DeltaClue):
    """CLUE with a term for the diversity of a set of answers, which are sought one after another (`--count K`).

    Diversity is the determinant of a kernel K_ij = 1 / (1 + |z_i - z_j|) over the set. What a new answer multiplies it
    by is 1 - k^T K^-1 k, with its own kernel values k; the logarithm of that is added to the objective. The first
    answer is `clue`'s, in the ball of `delta-clue`. Each further search starts at the random point of the ball, of
    `starts`, that is most diverse: by the determinant, and by how little it is seen as the classes of earlier answers.
    Its answer is not brought back towards the image, where all answers would meet.

    Source: Ley et al. 2022, arXiv 2112.02646, section 3 (determinantal point processes, distinct labels, the sequential
    scheme). The choice of the start is ours; searches end at the first valid image.
    """

    name: ClassVar[str] = "nabla-clue"
    summary: ClassVar[str] = "as delta-clue, away from the answers found before"
    paper: ClassVar[str] = "Ley et al. 2022, nabla-CLUE, arXiv 2112.02646"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "answers are sought one after another, with the logarithm of the determinant; each search starts at the most "
        "diverse of several random points, and ends at the first valid image",
    )
    presets: ClassVar[Mapping[str, Preset]] = {PAPER: AS_PUBLISHED}
    rank: ClassVar[int] = 82

    starts: int = setting(
        16, "random points of the ball of which a further search starts at the most diverse one", least=1
    )
    diversity_weight: float = setting(5.0, "nats for a factor of e in the determinant", least=0)
    label_weight: float = setting(
        5.0, "nats for a probability of 1 of the classes of earlier answers, where a start is chosen", least=0
    )

    def find(self, problem: Problem) -> Curve:
        curve = super().find(problem)
        return curve if problem.earlier is None else replace(curve, bisections=0)

    def searched(self, problem: Problem, origin: Tensor, search: Search) -> Tensor:
        """Where the search from the image's latent, or from the most diverse start, ends, (N, D)."""
        others = self.others(problem)
        begin = origin if others is None else self._most_diverse(problem, origin, others)
        state = Ascent.at(begin)
        state.climb(problem, begin, problem.every_row(), search)
        return state.best

    def _most_diverse(self, problem: Problem, origin: Tensor, others: Penalty) -> Tensor:
        """The random points of the balls that differ most from the earlier answers, (N, D)."""
        assert problem.earlier is not None
        rows, random, count = problem.every_row(), problem.random(), problem.earlier.shape[1]
        known = problem.log_probabilities(problem.earlier.flatten(0, 1), rows.repeat_interleave(count))
        classes = known.argmax(dim=1).view(-1, count)
        taken = torch.zeros_like(known[: len(rows)]).scatter_(1, classes, 1.0)
        best, lowest = origin.clone(), torch.full_like(origin[:, 0], torch.inf)
        for _ in range(self.starts):
            start = self._random_start(origin, random)
            seen = problem.log_probabilities(self.vae.decode(start), rows).exp()
            cost = others(start, rows) + self.label_weight * (seen * taken).sum(dim=1)
            better = cost < lowest
            best[better], lowest[better] = start[better], cost[better]
        return best

    def others(self, problem: Problem) -> Penalty | None:
        if problem.earlier is None:
            return None
        count, already = problem.earlier.shape[:2]
        known = self.vae.encode(problem.earlier.flatten(0, 1)).view(count, already, -1)
        kernel = 1 / (1 + torch.cdist(known, known))
        kernel = kernel + MIN_DETERMINANT * torch.eye(already, device=kernel.device)
        inverse = torch.linalg.pinv(kernel)

        def penalty(latents: Tensor, rows: Tensor) -> Tensor:
            gaps = (latents[:, None] - known[rows]).square().sum(dim=2).add(1e-12).sqrt()
            own = 1 / (1 + gaps)
            factor = 1 - torch.einsum("mi,mij,mj->m", own, inverse[rows], own)
            return -self.diversity_weight * factor.clamp(min=MIN_DETERMINANT).log()

        return penalty
