"""diffeo: gradient ascent in the base space of a flow that is made of a VAE, with a prior of the target class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...generative.flow import ImageFlow
from ..curve import Curve
from ..engine import Engine
from ..fidelity import Fidelity
from ..problem import Problem
from ..search.ascent import Ascent, Search
from ..settings import setting

RESTART_STD_BASE = 0.3  # base standard deviations from the factual, for further answers


@dataclass(frozen=True, kw_only=True)
class DiffeomorphicAscent(Engine):
    """Maximises log p(target | g(z)) + prior_weight * log p(z | target), starting at z = g^-1(x).

    The flow g is a bijection, so the search starts at the image itself and not at a reconstruction. It moves in
    coordinates in which leaving the data distribution is expensive: the latents of a VAE, beside the detail that it
    cannot draw, which the classifier's gradient does not move (32 and 784 coordinates of a digit).

    Source: Dombrowski et al. 2022, Diffeomorphic Counterfactuals, arXiv 2206.05075, who follow the classifier alone in
    the whole base space of a RealNVP or Glow trained without labels. The prior, the class-conditional base that defines
    it, the flow made of a VAE and the detached detail are ours, so that the paper's theorem does not cover this search.
    """

    name: ClassVar[str] = "diffeo"
    summary: ClassVar[str] = "gradient ascent in a flow that is made of a VAE, with a prior of the target class"
    paper: ClassVar[str] = "Dombrowski et al. 2022, Diffeomorphic Counterfactuals, arXiv 2206.05075"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "the paper follows the classifier alone, in the whole base space of a flow; here the flow is made of a "
        "VAE, labels give it a class-conditional base that pulls towards the target, and the classifier's "
        "gradient moves only the VAE's latents",
    )
    rank: ClassVar[int] = 20
    needs: ClassVar[tuple[str, ...]] = ("flow",)

    flow: ImageFlow
    learning_rate: float = setting(
        0.05,
        "root mean square length of a step, in base standard deviations",
        source="Dombrowski et al. 2022, code (Adam, 5e-2)",
        least=0,
    )
    max_steps: int = setting(100, "steps at most with the full prior, then again with a tenth of it", least=1)
    prior_weight: float = setting(
        0.5, "weight of a nat of the base's log-density against a nat of the classifier's", least=0
    )

    def find(self, problem: Problem) -> Curve:
        origin = self.flow.encode(problem.images)

        def decode(latents: Tensor, rows: Tensor) -> Tensor:
            # The classifier's gradient changes only the shape. Through the detail it would add adversarial noise.
            shape, detail = latents[:, : self.flow.latents], latents[:, self.flow.latents :]
            return self.flow.decode(torch.cat([shape, detail.detach()], dim=1))

        def unlikelihood(latents: Tensor, rows: Tensor) -> Tensor:
            return -self.flow.base_log_prob(latents).gather(1, problem.targets[rows][:, None]).squeeze(1)

        def climb_with(weight: float) -> None:
            search = Search(
                decode=decode,
                learning_rate=self.learning_rate,
                max_steps=self.max_steps,
                penalty=lambda latents, rows: weight * unlikelihood(latents, rows),
                dequantise=True,
            )
            rows = problem.every_row()[~state.valid]
            state.climb(problem, state.best[rows], rows, search)

        state = Ascent.at(problem.restarted(origin, RESTART_STD_BASE))
        climb_with(self.prior_weight)
        if not bool(state.valid.all()):  # the rest continue from their best point with a weaker prior
            climb_with(self.prior_weight / 10)
        return Curve(lambda t, rows: decode(torch.lerp(origin[rows], state.best[rows], t[:, None]), rows))
