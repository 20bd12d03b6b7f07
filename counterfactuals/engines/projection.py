"""projection: project the image onto the target class, then search the straight line in latent space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...generative.anchors import LatentAnchors
from ...generative.contract import ConditionalModel
from ..curve import About, Curve
from ..fidelity import Fidelity
from ..preset import PAPER, Preset
from ..problem import Candidates, Problem
from ..search.vae_engine import VAEEngine
from ..settings import setting

REAL = "projection: the projection was not valid; the answer is on the way to a real image of the class instead"
NEXT_REAL = "projection: a further answer, on the way to another real image of the class instead of the projection"
PROJECTION_ALONE = Preset(
    settings={"confidence": 0.5, "neighbours": 0, "points": 50, "bisections": 0},
    published="none on these data",
    differs="the projection is the decoder of vcnet instead of an autoencoder of the target class, and there are more "
    "than two classes",
)


@dataclass(frozen=True, kw_only=True)
class SharpShooter(VAEEngine):
    """Finds the first valid point on the line from encode(x) to encode(projection of x onto the target class).

    The projection is the class-conditional reconstruction of x: its class-free latent, decoded with the target class
    as condition. If the end of the line is not valid, it moves to the nearest real image of the target class whose
    reconstruction is valid. All points of a line are evaluated in one batch.

    Source: Barr et al. 2021, Counterfactual Explanations via Latent Space Projection and Interpolation,
    arXiv 2112.00890. There the projection is an autoencoder trained on the target class only. Moving to a real
    image is ours; where the conditional VAE seldom convinces the classifier, many answers are such images.
    """

    name: ClassVar[str] = "projection"
    summary: ClassVar[str] = "project onto the target class, or take a real image of it; first valid point on the line"
    paper: ClassVar[str] = "Barr et al. 2021, SharpShooter, arXiv 2112.00890"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "the projection is the decoder of vcnet, where the paper has an autoencoder of the target class; the "
        "fallback to real images, which many answers on clothes take, and the halvings are ours",
    )
    presets: ClassVar[Mapping[str, Preset]] = {PAPER: PROJECTION_ALONE}
    rank: ClassVar[int] = 40
    needs: ClassVar[tuple[str, ...]] = ("vae", "conditional_vae", "anchors")
    gradients: ClassVar[bool] = False

    conditional_vae: ConditionalModel
    anchors: LatentAnchors
    points: int = setting(8, "points on the line, evaluated in one batch", least=1)
    bisections: int = setting(3, "halvings between the last invalid and the first valid point", least=0)
    neighbours: int = setting(8, "real images that are tried if the projection is not valid; 0: none", least=0)

    def find(self, problem: Problem) -> Curve:
        origin, _ = self.begin(problem)
        classes = self.anchors.latents.shape[0]
        condition = F.one_hot(problem.targets, classes).float()
        projection = self.conditional_vae.decode(self.conditional_vae.encode(problem.images), condition)
        end = self.vae.encode(projection)
        if problem.attempt:  # another real image instead of the projection
            near = self.anchors.nearest(origin, problem.targets, problem.attempt)
            end = near[:, -1].clone()
        reached = problem.candidates(self.vae.decode(end), problem.every_row())
        is_real = self._move_to_real(problem, origin, end, reached) | bool(problem.attempt)

        def about(t: float, row: int) -> About:
            if not is_real[row]:
                return About(fell_back=False)
            return About(notes=(NEXT_REAL if problem.attempt else REAL,), fell_back=True)

        return Curve(
            lambda t, rows: self.vae.decode(torch.lerp(origin[rows], end[rows], t[:, None])),
            grid=[place / self.points for place in range(1, self.points)],
            bisections=self.bisections,
            end=reached,
            about=about,
        )

    def _move_to_real(self, problem: Problem, origin: Tensor, end: Tensor, reached: Candidates) -> Tensor:
        """Moves each invalid end to the nearest valid real image; if none is valid, to the most confident one.

        Returns:
            (N,) bool, which ends were moved.
        """
        moved = torch.zeros_like(reached.valid)
        rows = problem.every_row()[~reached.valid]
        if not len(rows) or not self.neighbours:
            return moved
        near = self.anchors.nearest(origin[rows], problem.targets[rows], self.neighbours)
        count = near.shape[1]  # no class may have as many
        tried = problem.candidates(self.vae.decode(near.flatten(0, 1)), rows.repeat_interleave(count))
        valid, confidence = (values.view(len(rows), -1) for values in (tried.valid, tried.confidence))
        choice = torch.where(valid.any(dim=1), valid.int().argmax(dim=1), confidence.argmax(dim=1))
        place = torch.arange(len(rows), device=rows.device)
        better = valid.any(dim=1) | (confidence[place, choice] > reached.confidence[rows])
        rows, place, choice = rows[better], place[better], choice[better]
        end[rows] = near[place, choice]
        flat = place * count + choice
        reached.replace(rows, tried, flat)
        moved[rows] = True
        return moved
