"""jsma: the pixel that the gradient favours most is changed, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..curve import Curve
from ..fidelity import Fidelity
from ..preset import PAPER, Preset
from ..problem import Problem
from ..search.pixel_edits import AS_IN_DEDUCE, PixelEngine

AS_COMPARED = Preset(
    settings=AS_IN_DEDUCE,
    published="valid 876 of 900, L1 12.8, 25.8 pixels changed (Höltgen et al. 2021, notebook of their code, MNIST)",
    differs="this is the form that DeDUCE compares with, not Papernot's; unless the bundle has one, the classifier is "
    "trained without spectral normalisation, and pixels at an end of the range may come back from it",
)


@dataclass(frozen=True, kw_only=True)
class SaliencyMap(PixelEngine):
    """Changes one pixel a step: the one at which the gradient of the loss is largest, against the gradient.

    How pixels are changed, and changes undone, says `PixelEngine`.

    Sources: Papernot et al. 2016, The Limitations of Deep Learning in Adversarial Settings, arXiv 1511.07528, in the
    form that Höltgen et al. 2021 (DeDUCE, arXiv 2111.15639) compare with: the gradient of the loss takes the place of
    the saliency map, and pixels become darker as well as brighter. Undoing is ours. They use steps of 0.2.
    """

    name: ClassVar[str] = "jsma"
    summary: ClassVar[str] = (
        "greedy baseline of deduce: the pixel with the largest gradient is changed, one after another"
    )
    paper: ClassVar[str] = "Papernot et al. 2016, Jacobian saliency map attack, arXiv 1511.07528"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "not Papernot's saliency map of pairs of pixels: the greedy search over single pixels, by the gradient of"
        " the loss, that DeDUCE compares with; undoing is ours",
    )
    presets: ClassVar[Mapping[str, Preset]] = {PAPER: AS_COMPARED}
    caution: ClassVar[str | None] = (
        "jsma is an attack: it shows how few pixels convince the classifier, not what the target looks like"
    )
    rank: ClassVar[int] = 60

    def find(self, problem: Problem) -> Curve:
        def loss(images: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
            log_probabilities = problem.log_probabilities(images, rows)
            return problem.cost(log_probabilities, rows), log_probabilities

        return self.edited(problem, loss)
