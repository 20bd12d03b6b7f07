"""delta-clue: as clue, but within a ball around the image's latent, from a random start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..fidelity import Fidelity
from ..problem import Problem
from ..settings import setting
from .clue import Clue


@dataclass(frozen=True, kw_only=True)
class DeltaClue(Clue):
    """CLUE within |z - z_0| <= delta, from a random start in that ball: different starts give different answers.

    How much the ball limits is how far an explanation may be; with `--count K` the answers show that there are several
    ways to become sure. Source: Ley et al. 2022, Diverse, Global and Amortised Counterfactual Explanations for
    Uncertainty Estimates, arXiv 2112.02646, algorithm 1.
    """

    name: ClassVar[str] = "delta-clue"
    summary: ClassVar[str] = "as clue, within a ball around the image's latent, from a random start"
    paper: ClassVar[str] = "Ley et al. 2022, delta-CLUE, arXiv 2112.02646"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "one random start for each answer, in the same direction for every image, where the paper has many; the "
        "ball is kept by rescaling the latent inside the objective instead of projecting each step",
    )
    rank: ClassVar[int] = 81

    delta: float = setting(3.0, "radius of the ball, in latent standard deviations", least=0.01)

    def confined(self, latents: Tensor, origin: Tensor) -> Tensor:
        """Latents outside of the ball are moved to its surface."""
        change = latents - origin
        length = change.square().sum(dim=1, keepdim=True).add(1e-12).sqrt()
        return origin + change * (self.delta / length).clamp(max=1)

    def beginning(self, problem: Problem, origin: Tensor) -> Tensor:
        """A random point of the ball, the same for every image."""
        random = problem.random()
        direction = torch.randn(origin.shape[1], generator=random, device="cpu")
        length = self.delta * float(torch.rand((), generator=random, device="cpu")) ** (1 / len(direction))
        return origin + (length * direction / direction.norm()).to(origin)
