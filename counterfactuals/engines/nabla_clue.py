"""nabla-clue: as clue, but away from the answers that were found before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..fidelity import Fidelity
from ..problem import Problem
from ..search.ascent import Penalty
from ..settings import setting
from .clue import Clue

MIN_DETERMINANT = 1e-6  # of the determinant


@dataclass(frozen=True, kw_only=True)
class NablaClue(Clue):
    """CLUE with a term for the diversity of a set of answers, which are sought one after another (`--count K`).

    Diversity is the determinant of a kernel K_ij = 1 / (1 + |z_i - z_j|) over the set. What a new answer multiplies it
    by is 1 - k^T K^-1 k, with its own kernel values k; the logarithm of that is added to the objective.

    Source: Ley et al. 2022, arXiv 2112.02646, section 3 (determinantal point processes, the sequential scheme). As
    in `clue`, each search starts near the image and ends at the first valid image, so that the
    term has few steps in which to act.
    """

    name: ClassVar[str] = "nabla-clue"
    summary: ClassVar[str] = "as clue, away from the answers found before"
    paper: ClassVar[str] = "Ley et al. 2022, nabla-CLUE, arXiv 2112.02646"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "answers are sought one after another from starts near the image, with the logarithm of the determinant, "
        "and end at the first valid image, which leaves the diversity term few steps",
    )
    rank: ClassVar[int] = 82

    diversity_weight: float = setting(5.0, "nats for a factor of e in the determinant", least=0)

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
