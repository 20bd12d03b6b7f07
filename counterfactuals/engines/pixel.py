"""pixel: the control. Gradient ascent on the pixels, which finds adversarial noise instead of counterfactuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ..curve import Curve
from ..engine import Engine
from ..fidelity import Fidelity
from ..problem import Problem
from ..search.ascent import Ascent, Search
from ..settings import setting

RESTART_STD_PIXELS = 0.1  # of the range of a pixel from the factual, for further answers


@dataclass(frozen=True, kw_only=True)
class PixelAscent(Engine):
    """Gradient ascent on the classifier's log-probability of the target, in pixels.

    It is not the search of Wachter et al. 2017, arXiv 1711.00399, whose equation 2 has a distance as well.

    Its results fool the classifier and nobody else. A judge that rates them as realistic is not a useful judge.
    """

    name: ClassVar[str] = "pixel"
    summary: ClassVar[str] = "control: gradient ascent on the pixels, finds adversarial noise"
    paper: ClassVar[str] = "control; compare Wachter et al. 2017, arXiv 1711.00399"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "ours",
        "a control, not the method of Wachter et al.: their search also keeps the image near, and this ascent has"
        " no distance term",
    )
    caution: ClassVar[str | None] = (
        "pixel finds adversarial noise: it shows how little convinces the classifier, not what the target looks like"
    )
    candidate: ClassVar[bool] = False
    rank: ClassVar[int] = 90

    learning_rate: float = setting(0.02, "root mean square length of a step, in units of the pixel range", least=0)
    max_steps: int = setting(2000, "steps at most", least=1)

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
        end = state.best.clamp(0, 1)
        return Curve(lambda t, rows: torch.lerp(start[rows], end[rows], t[:, None]).view(-1, *shape[1:]))
