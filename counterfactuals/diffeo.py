"""diffeo: gradient ascent in the base space of a normalizing flow, an exact change of coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..generative.flow import ImageFlow
from .ascent import Ascent
from .engine import Curve, Engine, Question


@dataclass(frozen=True, kw_only=True)
class DiffeomorphicAscent(Engine):
    """Ascend log p(target | g(z)) + prior_weight * log p(z | target), from z = g^-1(x).

    The flow g is a bijection: the search starts at the image itself, not at a reconstruction of it, and moves
    in coordinates in which leaving the data is expensive. Dombrowski et al. 2022, Diffeomorphic
    Counterfactuals, arXiv 2206.05075; the prior, and a flow with a class-conditional base to have it, are ours.
    """

    name: ClassVar[str] = "diffeo"
    summary: ClassVar[str] = "gradient ascent in the base space of a normalizing flow"
    paper: ClassVar[str] = "Dombrowski et al. 2022, Diffeomorphic Counterfactuals, arXiv 2206.05075"
    needs: ClassVar[tuple[str, ...]] = ("flow",)

    flow: ImageFlow
    learning_rate: float = 0.1  # root mean square length of a step, in base standard deviations
    max_steps: int = 150
    prior_weight: float = 0.1  # nats of the classifier for one nat of the base's density

    def find(self, question: Question) -> Curve:
        origin = self.flow.encode(question.images)

        def decode(latents: Tensor, rows: Tensor) -> Tensor:
            return self.flow.decode(latents)

        def penalty(latents: Tensor, rows: Tensor) -> Tensor:
            per_class = self.flow.base_log_prob(latents)
            return -self.prior_weight * per_class.gather(1, question.targets[rows][:, None]).squeeze(1)

        state = Ascent.at(origin)
        state.climb(
            question,
            origin,
            decode,
            rows=question.every_row(),
            learning_rate=self.learning_rate,
            max_steps=self.max_steps,
            penalty=penalty,
        )
        return Curve(lambda shares, rows: decode(torch.lerp(origin[rows], state.best[rows], shares[:, None]), rows))
