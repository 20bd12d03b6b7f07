"""The percentiles that real images reach, and what is wrong with images outside of them. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Range:
    """A range of percentiles, both ends included.

    Attributes:
        metric: its name in the catalogue.
        low, high: per cent.
        below, above: what an image with a lower or higher percentile is.
    """

    metric: str
    low: float
    high: float
    below: str
    above: str = ""

    def holds(self, percentile: Tensor) -> Tensor:
        """Which of the percentiles (N,) are in the range: (N,) bool."""
        return (percentile >= self.low) & (percentile <= self.high)

    def fault(self, percentile: float | None) -> str:
        """What an image with this percentile is; empty if it is in the range or unknown."""
        if percentile is None:
            return ""
        return self.below if percentile < self.low else self.above if percentile > self.high else ""


# Chosen on held-out training images by controls alone: together they hold 95 % of real images, and under 5 % of blurred
# ones, of adversarial noise, and of images of another class. What sharpness leaves out at its upper end is so far from
# real images that half a percent suffices.
REALISM = Range("realism_percentile", 1.5, 100.0, "untypical")
CLASS = Range("class_percentile", 1.5, 100.0, "like another class")
SHARPNESS = Range("sharpness_percentile", 1.5, 99.5, "blurred", "too sharp")
NOISE = Range("noise_percentile", 4.0, 100.0, "noisy")
RANGES = (REALISM, CLASS, SHARPNESS, NOISE)


def why_not_real(metrics: Mapping[str, float | bool | None]) -> str:
    """What makes an image look unreal, such as "blurred" or "untypical, blurred", from its metrics by name."""
    return ", ".join(filter(None, (each.fault(metrics.get(each.metric)) for each in RANGES)))
