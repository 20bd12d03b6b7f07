"""How noisy an image is, compared with real images of a class: from statistics of its pixels, without a network."""

from __future__ import annotations

from torch import Tensor

from ..images.detail import measure_noise
from .matched_filter import LEVELS, MatchedFilter


class Noise(MatchedFilter):
    """What detail and quiet areas in real images of each class are like, and how their noise varies.

    The strength of noise is 1 for an image to which just visible noise was added. Detail alone would not do: noise as
    fine as the texture of a class has as much of it, but lies in areas as well that are smooth in real images.

    Args:
        classes: number of classes K.
        measures: number of measures, F.
        levels: number of quantiles Q of the noise of real images.
    """

    noises: Tensor

    def __init__(self, classes: int, measures: int, levels: int = LEVELS) -> None:
        super().__init__(classes, measures, "noises", levels)

    def measure(self, images: Tensor) -> Tensor:
        return measure_noise(images)
