"""diffeo: gradient ascent in the base space of a flow that is made of a VAE, with a prior of the target class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...generative.flow import ImageFlow
from ..curve import Curve
from ..engine import Engine
from ..fidelity import Fidelity
from ..preset import PAPER, Preset
from ..problem import Problem
from ..search.ascent import Ascent, Search
from ..settings import setting

RESTART_STD_BASE = 0.3  # base standard deviations from the factual, for further answers
AS_PUBLISHED = Preset(
    settings={
        "confidence": 0.99,
        "prior_weight": 0.0,
        "moved": "all",
        "learning_rate": 0.05,
        "max_steps": 2000,
        "tightened": False,
    },
    published="agreement of other classifiers and of nearest neighbours, of which we have verified no figure",
    differs="the flow is made of a VAE and has a class-conditional base, where the paper has a RealNVP that was "
    "trained without labels, so that the paper's theorem does not cover it; Adam has one second moment for each image, "
    "because with one for each coordinate rounding errors decide where the detail goes (optimiser=adam)",
)


@dataclass(frozen=True, kw_only=True)
class DiffeomorphicAscent(Engine):
    """Maximises log p(target | g(z)) + prior_weight * log p(z | target), starting at z = g^-1(x).

    The flow g is a bijection, so the search starts at the image itself and not at a reconstruction. It moves in
    coordinates in which leaving the data distribution is expensive: the latents of a VAE, beside the detail that it
    cannot draw, which the classifier's gradient does not move unless `moved` is "all" (32 and 784 coordinates of a
    digit).

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
    presets: ClassVar[Mapping[str, Preset]] = {PAPER: AS_PUBLISHED}
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
    moved: Literal["shape", "all"] = setting(
        "shape", "what the classifier's gradient moves: the latents of the VAE, or the detail beside them as well"
    )
    optimiser: Literal["adam-per-image", "adam", "gradient-descent"] = setting(
        "adam-per-image", "Adam with one second moment for each image, Adam, or plain gradient descent"
    )

    def find(self, problem: Problem) -> Curve:
        origin = self.flow.encode(problem.images)

        def decode(latents: Tensor, rows: Tensor) -> Tensor:
            if self.moved == "all":
                return self.flow.decode(latents)
            # Through the detail, answers become nearer and less typical (by IM1): docs/engines.md has the figures.
            shape, detail = latents[:, : self.flow.latents], latents[:, self.flow.latents :]
            return self.flow.decode(torch.cat([shape, detail.detach()], dim=1))

        def unlikelihood(latents: Tensor, rows: Tensor) -> Tensor:
            return -self.flow.base_log_prob(latents).gather(1, problem.targets[rows][:, None]).squeeze(1)

        def climb_with(weight: float) -> None:
            search = Search(
                decode=decode,
                learning_rate=self.learning_rate,
                max_steps=self.max_steps,
                optimiser=self.optimiser,
                penalty=lambda latents, rows: weight * unlikelihood(latents, rows),
                dequantise=True,
            )
            rows = problem.every_row()[~state.valid]
            state.climb(problem, state.best[rows], rows, search)

        state = Ascent.at(problem.restarted(origin, RESTART_STD_BASE))
        climb_with(self.prior_weight)
        if self.prior_weight and not bool(state.valid.all()):  # the rest continue from their best with a weaker prior
            climb_with(self.prior_weight / 10)
        return Curve(lambda t, rows: decode(torch.lerp(origin[rows], state.best[rows], t[:, None]), rows))
