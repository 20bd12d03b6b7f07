"""Sizes that a classifier may expect instead of the images' own: what its first linear layer leaves open."""

from __future__ import annotations

from dataclasses import replace

from ..classifiers.foreign.preprocessing import Preprocessing
from .probe import USUAL_SIZES, Probe

USUAL_SIZE = 224  # pixels, of most classifiers of photographs
SMALLEST_PHOTO = 64  # pixels of the longer side; smaller images are not tried at the usual size of photographs
FURTHEST = 32  # pixels; a network halves its images five times at most, so that a window of sizes is no wider

Size = tuple[int, int]


def other_sizes(probe: Probe) -> list[Size]:
    """Sizes to be compared with the size at which the classifier is run, if its size is not declared.

    A classifier that takes images of any size may expect the usual size of photographs. One that flattens its features
    in front of a linear layer takes only a window of sizes, such as 23 to 25, whose pixels it counts alike: it was
    probably made for the roundest of them, or for a usual one.
    """
    preprocessing = probe.preprocessing
    height, width = probe.sample.images.shape[2:]
    own = preprocessing.size or (height, width)
    found: list[Size] = []
    if _accepts(probe, (2 * own[0], 2 * own[1])):
        if preprocessing.size is None and max(own) >= SMALLEST_PHOTO and _accepts(probe, (USUAL_SIZE, USUAL_SIZE)):
            found.append((USUAL_SIZE, USUAL_SIZE))
    else:
        heights = _window(probe, own, 0)
        widths = heights if own[0] == own[1] else _window(probe, own, 1)
        found.append((_roundest(heights), _roundest(widths)))
        found += [(side, side) for side in USUAL_SIZES if side in heights and side in widths]
        found = [size for size in found if _accepts(probe, size)]
    return [size for size in dict.fromkeys(found) if size != own]


def _window(probe: Probe, own: Size, axis: int) -> range:
    """The sides near `own` that the classifier takes along one axis."""

    def last(step: int) -> int:
        """How far the side can go in steps of -1 or 1, by bisection."""
        taken, refused = 0, FURTHEST + 1
        while refused - taken > 1:
            middle = (taken + refused) // 2
            side = own[axis] + step * middle
            size = (side, own[1]) if axis == 0 else (own[0], side)
            if side > 0 and _accepts(probe, size):
                taken = middle
            else:
                refused = middle
        return own[axis] + step * taken

    return range(last(-1), last(1) + 1)


def _roundest(sides: range) -> int:
    """The side that can be halved most often."""
    return max(sides, key=lambda side: side & -side)


def _accepts(probe: Probe, size: Size) -> bool:
    preprocessing: Preprocessing = replace(probe.preprocessing, size=size)
    return probe.accepts(preprocessing)
