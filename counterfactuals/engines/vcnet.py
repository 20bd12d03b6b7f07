"""vcnet: encode once, decode with the condition moved to the target class, and keep the smallest valid move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...generative.contract import ConditionalModel
from ..curve import About, Curve
from ..engine import Engine
from ..fidelity import Fidelity
from ..preset import PAPER, Preset
from ..problem import Problem
from ..settings import setting

RESTART_STD_LATENT = 0.7  # latent standard deviations from the factual, for further answers
FORGOTTEN = "vcnet: the image was forgotten: its latent was set to zero, from which the target class alone is drawn"
ONE_PASS = Preset(
    settings={"confidence": 0.5, "shrinkages": (), "tightened": False},
    published="none on these data: the paper explains tables of numbers",
    differs="the classifier is frozen and shares no layers with the generator, which is trained with five more losses",
)
SHRUNK = "vcnet: the image was in part forgotten: its latent was multiplied by {share:g}"


@dataclass(frozen=True, kw_only=True)
class VCNet(Engine):
    """Computes decode(encode(x), c), with c on the line from the classifier's probabilities to the one-hot target.

    If the end of the line is not valid, the latent is also scaled towards the mean of its prior, where the decoder
    generates the class's most typical image.

    Source: Guyomard et al. 2022, VCNet, arXiv 2212.10847, section 3.2. There predictor and generator share layers, are
    trained together, and answer in one pass. Here the predictor is any frozen classifier, whose probabilities are the
    condition; the generator has an encoder of its own, and is trained with five losses that VCNet has not
    (`training/parts/conditional_vae.py`); the line of conditions and the shrinking are ours.
    """

    name: ClassVar[str] = "vcnet"
    summary: ClassVar[str] = "conditional VAE, condition moved from the prediction to the target"
    paper: ClassVar[str] = "Guyomard et al. 2022, VCNet, arXiv 2212.10847"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "VCNet trains predictor and generator together and answers in one pass; here the classifier is frozen, "
        "the generator is trained with five losses that VCNet has not, the condition moves along a line, and the "
        "latent is shrunk where that is not enough",
    )
    presets: ClassVar[Mapping[str, Preset]] = {PAPER: ONE_PASS}
    rank: ClassVar[int] = 30
    needs: ClassVar[tuple[str, ...]] = ("conditional_vae",)
    gradients: ClassVar[bool] = False

    conditional_vae: ConditionalModel
    bisections: int = setting(4, "halvings of the line of conditions; 4 locate the point to a sixteenth", least=0)
    residual: bool | None = setting(
        None, "keep what the VAE cannot decode; none: only if changes are carried to larger images"
    )
    shrinkages: tuple[float, ...] = setting(
        (0.75, 0.5, 0.25, 0.0), "factors of the latent that are tried while an image is not valid", least=0, most=1
    )

    def find(self, problem: Problem) -> Curve:
        rows = problem.every_row()
        latents = self.conditional_vae.encode(problem.images)
        origin = problem.condition(problem.log_probabilities(problem.images, rows))
        corner = F.one_hot(problem.targets, origin.shape[1]).float()
        if problem.wants_residual(self.residual):
            problem.use_residual_of(self.conditional_vae.decode(latents, origin))
        begin = problem.restarted(latents, RESTART_STD_LATENT)
        end, left = begin.clone(), torch.ones(len(rows))
        reached = problem.candidates(self.conditional_vae.decode(begin, corner), rows)
        for share in self.shrinkages:
            invalid = rows[~reached.valid]
            if not len(invalid):
                break
            shrunk = begin[invalid] * share
            tried = problem.candidates(self.conditional_vae.decode(shrunk, corner[invalid]), invalid)
            better = tried.valid | (tried.confidence > reached.confidence[invalid])
            end[invalid[better]] = shrunk[better]
            left[invalid[better]] = share
            reached.replace(invalid[better], tried, better)

        def draw(t: Tensor, rows: Tensor) -> Tensor:
            weight = t[:, None]
            return self.conditional_vae.decode(
                torch.lerp(latents[rows], end[rows], weight), torch.lerp(origin[rows], corner[rows], weight)
            )

        def about(t: float, row: int) -> About:
            share = float(left[row])
            if share == 1:
                return About(fell_back=False)
            return About(notes=(SHRUNK.format(share=share) if share else FORGOTTEN,), fell_back=True)

        return Curve(draw, bisections=self.bisections, end=reached, about=about)
