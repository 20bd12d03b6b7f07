"""vcnet: one encode, one decode with the condition moved to the target; the smallest valid move is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..generative.contract import ConditionalModel
from .engine import Engine
from .problem import Problem
from .tightening import Curve


@dataclass(frozen=True, kw_only=True)
class VCNet(Engine):
    """decode(encode(x), c) with c on the line from the classifier's own probabilities to the target's corner.

    Guyomard et al. 2022, VCNet, arXiv 2212.10847, section 3.2. There the predictor is part of the network;
    here it is any frozen classifier, whose probabilities are the condition. Where the line's end is not valid,
    the latent is also drawn towards the mean of its prior, which is the class's most typical image.
    """

    name: ClassVar[str] = "vcnet"
    summary: ClassVar[str] = "conditional VAE, condition moved from the prediction to the target"
    paper: ClassVar[str] = "Guyomard et al. 2022, VCNet, arXiv 2212.10847"
    rank: ClassVar[int] = 30
    needs: ClassVar[tuple[str, ...]] = ("conditional_vae",)
    gradients: ClassVar[bool] = False

    conditional_vae: ConditionalModel
    bisections: int = 4  # of the line of conditions: its point is found to a sixteenth
    residual: bool | None = None  # keep what the VAE cannot draw; None: where changes are carried to larger images
    shrinkages: tuple[float, ...] = (0.75, 0.5, 0.25, 0.0)  # of the latent, for images whose own fails

    def find(self, problem: Problem) -> Curve:
        rows = problem.every_row()
        latents = self.conditional_vae.encode(problem.images)
        origin = problem.log_probabilities(problem.images, rows).exp()
        corner = F.one_hot(problem.targets, origin.shape[1]).float()
        if problem.keeps_the_rest(self.residual):
            problem.keep_the_rest(self.conditional_vae.decode(latents, origin))
        end = latents.clone()
        reached = problem.candidates(self.conditional_vae.decode(latents, corner), rows)
        for share in self.shrinkages:
            stray = rows[~reached.valid]
            if not len(stray):
                break
            tried = latents[stray] * share
            drawn = problem.candidates(self.conditional_vae.decode(tried, corner[stray]), stray)
            better = drawn.valid | (drawn.confidence > reached.confidence[stray])
            end[stray[better]] = tried[better]
            reached.replace(stray[better], drawn.images[better], drawn.valid[better], drawn.confidence[better])

        def draw(t: Tensor, rows: Tensor) -> Tensor:
            way = t[:, None]
            return self.conditional_vae.decode(
                torch.lerp(latents[rows], end[rows], way), torch.lerp(origin[rows], corner[rows], way)
            )

        return Curve(draw, bisections=self.bisections, end=reached)
