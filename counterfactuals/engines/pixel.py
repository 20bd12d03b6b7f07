"""pixel: the control. The nearest adversarial noise, by an ascent on the pixels and then a descent of the change."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import ClassVar

import torch
from torch import Tensor

from ..curve import Curve
from ..engine import Engine
from ..fidelity import Fidelity
from ..problem import Problem, as_written
from ..search.ascent import TINY, Ascent, Search
from ..settings import setting

RESTART_STD_PIXELS = 0.1  # of the range of a pixel from the factual, for further answers
RATES = (0.05, 0.001)  # shares by which the radius changes in the first and last step (Pintor et al. 2021, code)
SHORTEST = 0.01  # share of a step's length that is left in the last step (as there)
BISECTIONS = 4  # the search ends near the boundary, so that there is little to go back


@dataclass(frozen=True, kw_only=True)
class PixelAscent(Engine):
    """Gradient ascent on the classifier's log-probability of the target, then descent of the L1 norm of the change.

    After the first valid image, each step follows the normalised gradient and is projected onto a ball around the
    factual, in the norm L1. The ball becomes smaller while the image is valid, and larger while it is not.

    Source: Pintor et al. 2021, Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints (FMN),
    arXiv 2102.12827, algorithm 1 with p = 1. Its aim, the nearest image that the classifier takes for the target, is
    that of Wachter et al. 2017, arXiv 1711.00399, whose equation 2 weighs the distance against the loss instead.

    Its results fool the classifier and nobody else. A judge that rates them as realistic is not a useful judge.
    """

    name: ClassVar[str] = "pixel"
    summary: ClassVar[str] = "control: the least change of pixels, in L1, that convinces the classifier: noise"
    paper: ClassVar[str] = "control; after Pintor et al. 2021, FMN, arXiv 2102.12827"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "a control: FMN's search for the smallest L1 norm, begun where an ascent by Adam is first valid instead of at "
        "the factual, with the log-probability instead of the margin between logits and longer steps; it has the aim "
        "of Wachter et al., and not their loss",
    )
    caution: ClassVar[str | None] = (
        "pixel finds adversarial noise: it shows how little convinces the classifier, not what the target looks like"
    )
    candidate: ClassVar[bool] = False
    rank: ClassVar[int] = 90

    learning_rate: float = setting(
        0.05, "root mean square length of a step of the ascent, in units of the pixel range", least=0
    )
    max_steps: int = setting(2000, "steps of the ascent at most", least=1)
    shrinking_steps: int = setting(40, "steps in which the change is made smaller; 0: none", least=0)
    shrinking_length: float = setting(
        2.0, "Euclidean length of the first of these steps, in units of the pixel range", least=0
    )

    def find(self, problem: Problem) -> Curve:
        shape = problem.images.shape
        start = problem.images.flatten(1)
        begin = problem.restarted(start, RESTART_STD_PIXELS)
        state = Ascent.at(begin)
        search = Search(
            decode=lambda pixels, rows: pixels.view(-1, *shape[1:]),
            learning_rate=self.learning_rate,
            max_steps=self.max_steps,
        )
        state.climb(problem, begin, problem.every_row(), search)
        change = state.best.clamp(0, 1) - start
        self._shrink(problem, start, change, problem.every_row()[state.valid & (change != 0).any(dim=1)])
        end = start + change
        return Curve(
            lambda t, rows: torch.lerp(start[rows], end[rows], t[:, None]).view(-1, *shape[1:]), bisections=BISECTIONS
        )

    def _shrink(self, problem: Problem, start: Tensor, change: Tensor, rows: Tensor) -> None:
        """Replaces the valid changes (N, D) of the questions `rows` (M,) by the smallest valid ones that are found."""
        origin, moved = start[rows], change[rows]
        smallest = radius = moved.abs().sum(dim=1)
        for step in range(self.shrinking_steps if len(rows) else 0):
            left = (1 + cos(pi * step / self.shrinking_steps)) / 2
            with torch.enable_grad():
                point = as_written(origin + moved).requires_grad_(True)
                log_probabilities = problem.log_probabilities(point.view(-1, *problem.images.shape[1:]), rows)
                (gradient,) = torch.autograd.grad(problem.cost(log_probabilities, rows).sum(), point)
            valid, _ = problem.met(log_probabilities, rows)
            reached = point.detach() - origin
            size = reached.abs().sum(dim=1)
            better = valid & (size < smallest)
            if bool(better.any()):  # as it is kept: at its full size, and typical of the target if that is asked for
                images = point.detach()[better].view(-1, *problem.images.shape[1:])
                valid[better] = problem.candidates(images, rows[better]).valid
                better &= valid
            change[rows[better]] = reached[better]
            smallest = torch.where(better, size, smallest)
            rate = RATES[1] + (RATES[0] - RATES[1]) * left
            inner, outer = torch.minimum(radius, size) * (1 - rate), torch.minimum(radius * (1 + rate), smallest)
            radius = torch.where(valid, inner, outer)
            length = self.shrinking_length * (SHORTEST + (1 - SHORTEST) * left)
            moved = moved - length * gradient / gradient.norm(dim=1, keepdim=True).clamp(min=TINY)
            moved = (origin + within_l1_ball(moved, radius)).clamp(0, 1) - origin
            problem.steps[rows.cpu()] += 1


def within_l1_ball(change: Tensor, radius: Tensor) -> Tensor:
    """The changes (N, D) that are nearest to these within balls of the norm L1 of a radius (N,).

    Source: Duchi et al. 2008, Efficient Projections onto the l1-Ball, figure 1.
    """
    sizes = change.abs()
    ordered = sizes.sort(dim=1, descending=True).values
    excess = (ordered.cumsum(dim=1) - radius[:, None]) / torch.arange(1, change.shape[1] + 1, device=change.device)
    last = (ordered > excess).sum(dim=1, keepdim=True).clamp(min=1) - 1
    return change.sign() * (sizes - excess.gather(1, last).clamp(min=0)).clamp(min=0)
