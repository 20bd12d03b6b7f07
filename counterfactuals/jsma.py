"""jsma: the pixel that the gradient favours most is changed, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .engine import Engine
from .pixel_edits import PixelSearch
from .problem import Problem
from .settings import setting
from .tightening import Curve


@dataclass(frozen=True, kw_only=True)
class SaliencyMap(Engine):
    """Changes one pixel a step: the one at which the gradient of the loss is largest, against the gradient.

    A pixel is a position with all its channels. Pixels are left out once they were changed `max_changes` times, and
    while they are black or white and would have to become darker or brighter still. The search stops at the first
    valid image. Then pixels, and after them single changes, are undone that the image does not need to be valid.

    Sources: Papernot et al. 2016, The Limitations of Deep Learning in Adversarial Settings, arXiv 1511.07528, in the
    form that Höltgen et al. 2021 (DeDUCE, arXiv 2111.15639) compare with: the gradient of the loss takes the place of
    the saliency map, and pixels become darker as well as brighter. Undoing is ours. They use steps of 0.2.
    """

    name: ClassVar[str] = "jsma"
    summary: ClassVar[str] = "baseline: the pixels with the largest gradient, changed one after the other"
    paper: ClassVar[str] = "Papernot et al. 2016, Jacobian saliency map attack, arXiv 1511.07528"
    caution: ClassVar[str | None] = (
        "jsma is an attack: it shows how few pixels convince the classifier, not what the target looks like"
    )
    candidate: ClassVar[bool] = False
    rank: ClassVar[int] = 60

    step: float = setting(
        1.0,
        "change of a pixel in a step, in units of the pixel range; smaller steps change more pixels by less",
        source="Papernot et al. 2016 (theta); 0.2 in the code of Höltgen et al. 2021",
        least=1 / 255,
        most=1,
    )
    max_changes: int = setting(5, "changes of one pixel at most", source="code of Höltgen et al. 2021", least=1)
    max_steps: int = setting(700, "steps at most", source="code of Höltgen et al. 2021", least=1)
    undo_rounds: int = setting(4, "rounds of undoing changes that are not needed; 0: none are undone", least=0)

    def find(self, problem: Problem) -> Curve:
        def loss(images: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
            log_probabilities = problem.log_probabilities(images, rows)
            return problem.cost(log_probabilities, rows), log_probabilities

        search = PixelSearch(
            loss=loss,
            step=self.step,
            max_changes=self.max_changes,
            max_steps=self.max_steps,
            undo_rounds=self.undo_rounds,
        )
        return search.run(problem).curve()
