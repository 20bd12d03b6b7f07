"""vcnet: one encode, one decode with the condition moved to the target; the smallest valid move is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from ..generative.contract import ConditionalModel
from .engine import Curve, Engine, Question


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
    needs: ClassVar[tuple[str, ...]] = ("conditional_vae",)

    conditional_vae: ConditionalModel
    points: int = 4  # of the line, asked about in one batch
    bisections: int = 2  # between the last invalid and the first valid of them
    shrinkages: tuple[float, ...] = (0.75, 0.5, 0.25, 0.0)  # of the latent, for images whose own fails

    def find(self, question: Question) -> Curve:
        rows = question.every_row()
        latents = self.conditional_vae.encode(question.images)
        origin = question.log_probabilities(question.images, rows).exp()
        corner = F.one_hot(question.targets, origin.shape[1]).float()
        end = latents.clone()
        best = question.ask(self.conditional_vae.decode(latents, corner), rows)
        stray, sure = rows[~best[0]], best[1][~best[0]]
        for share in self.shrinkages:
            if not len(stray):
                break
            tried = latents[stray] * share
            valid, confidence = question.ask(self.conditional_vae.decode(tried, corner[stray]), stray)
            better = valid | (confidence > sure)
            end[stray[better]] = tried[better]
            sure = torch.maximum(sure, confidence)
            stray, sure = stray[~valid], sure[~valid]

        def draw(shares: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            way = shares[:, None]
            return self.conditional_vae.decode(
                torch.lerp(latents[rows], end[rows], way), torch.lerp(origin[rows], corner[rows], way)
            )

        return Curve(draw, [place / self.points for place in range(1, self.points)], self.bisections)
