"""How blurred an image is, compared with real images of a class: from statistics of its pixels, without a network."""

from __future__ import annotations

from torch import Tensor

from ..images.detail import measure_detail
from .matched_filter import LEVELS, MatchedFilter


class Sharpness(MatchedFilter):
    """What the detail in real images of each class is like, and how their blur varies.

    The strength of a blur is 1 for an image from which it takes half the power of the finest octave. A threshold on the
    power of the finest octave alone would not do: between images it varies by far more than a factor of two, but
    together with that of the coarser octaves, which a blur leaves alone.

    Args:
        classes: number of classes K.
        details: number of measures of detail, F.
        levels: number of quantiles Q of the blur of real images.
    """

    blurs: Tensor

    def __init__(self, classes: int, details: int, levels: int = LEVELS) -> None:
        super().__init__(classes, details, "blurs", levels)

    def measure(self, images: Tensor) -> Tensor:
        return measure_detail(images)
