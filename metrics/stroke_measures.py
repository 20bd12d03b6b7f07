"""Six measures of a drawing of light strokes: area, thickness, length, slant, width and height."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

import numpy as np

MEASURED_SIDE = 112  # pixels; Morpho-MNIST measures images of 28 pixels enlarged by 4
HALF = 0.5  # of the range from the darkest to the lightest pixel; lighter ones are the drawing (Morpho-MNIST)
CUT = 0.01  # of the mass of an image, which a width or a height leaves out at either end (Morpho-MNIST)

FOREGROUND = 0.1  # of the range; lighter pixels are the foreground, whose width decides whether strokes are thin
WIDEST = 0.3  # of the image's shorter side; of 10,000 test images 98 % of MNIST's and 8 % of Fashion-MNIST's pass
LEAST_KEPT = 0.5  # of the foreground must be lighter than half, or else something else than the foreground is measured

LEAST_SLANT = 0.001  # radians, ten times what rounding to 8 bits does to the slant of a digit; 1 digit in 400 has less


@dataclass(frozen=True, kw_only=True)
class Strokes:
    """The measures of a drawing: Castro et al. 2019, Morpho-MNIST, arXiv 1809.10780, section 2.2.

    Attributes:
        area: number of pixels of the drawing.
        thickness: twice the mean distance of its skeleton from the background, in pixels.
        length: length of its skeleton, in pixels.
        slant: how far from upright it leans, in radians; positive to the right.
        width: horizontal extent when its slant is undone, in pixels.
        height: vertical extent, in pixels.
    """

    area: float
    thickness: float
    length: float
    slant: float
    width: float
    height: float


MEASURES = tuple(field.name for field in fields(Strokes))
"""Names of the measures."""


def measure(image: np.ndarray) -> Strokes | None:
    """Measures a drawing of light strokes on dark ground.

    Follows Morpho-MNIST but for two things: the skeleton is thinned (Zhang and Suen 1984) and no medial axis, which has
    branches into corners, breaks ties at random and takes ten times as long; and images of other sizes than MNIST's are
    enlarged to about the same, `MEASURED_SIDE`.

    Args:
        image: (H, W) in [0, 1].

    Returns:
        The measures in pixels of `image`; None if the image is of one colour.

    Raises:
        ImportError: scikit-image is not installed.
    """
    from skimage import morphology, transform  # an optional package

    scale = max(1, round(MEASURED_SIDE / min(image.shape)))
    large = np.floor(255 * (transform.pyramid_expand(image, upscale=scale, order=3) if scale > 1 else image))
    if large.min() == large.max():
        return None
    drawn = lighter_than(large, HALF)
    skeleton = morphology.skeletonize(drawn)
    shear, middle = shear_of(large)
    return Strokes(
        area=float(drawn.sum()) / scale**2,
        thickness=2 * float(depth_of(drawn)[skeleton].mean()) / scale,
        length=length_of(skeleton) / scale,
        slant=math.atan(-shear),
        width=width_of(large, shear, middle) / scale,
        height=extent_of(large.sum(axis=1)) / scale,
    )


def is_thin(image: np.ndarray) -> bool:
    """Whether an image is a drawing of thin light strokes on dark ground, so that it can be measured as one.

    It is if no disc wider than `WIDEST` of its shorter side fits into the foreground, and at least `LEAST_KEPT` of the
    foreground is lighter than half, as a stroke is that is drawn with one pen.

    Args:
        image: (H, W) in [0, 1].
    """
    if image.min() == image.max():
        return False
    foreground = np.pad(lighter_than(image, FOREGROUND), 1)  # so that the edge of the image is one of the foreground
    widest = 2 * float(depth_of(foreground).max())
    kept = lighter_than(image, HALF).sum() / foreground.sum()
    return bool(widest <= WIDEST * min(image.shape) and kept >= LEAST_KEPT)


def relative_changes(factuals: Iterable[np.ndarray], counterfactuals: Iterable[np.ndarray]) -> np.ndarray:
    """The relative change of each measure, |m(x') - m(x)| / |m(x)|.

    Args:
        factuals: N images (H, W).
        counterfactuals: as many.

    Returns:
        (N, 6) in the order of `MEASURES`; NaN if the factual is no drawing of thin strokes, if the counterfactual is of
        one colour, or if m(x) is zero or too small a slant.

    Raises:
        ImportError: scikit-image is not installed.
    """
    rows = [
        relative_change(measure(before) if is_thin(before) else None, measure(after))
        for before, after in zip(factuals, counterfactuals, strict=True)
    ]
    return np.array(rows, dtype=float).reshape(-1, len(MEASURES))


def relative_change(before: Strokes | None, after: Strokes | None) -> list[float]:
    """The relative change of each measure; NaN where there is none."""
    if before is None or after is None:
        return [math.nan] * len(MEASURES)
    found = asdict(after)
    return [
        abs(found[name] - value) / abs(value) if abs(value) > (LEAST_SLANT if name == "slant" else 0) else math.nan
        for name, value in asdict(before).items()
    ]


def lighter_than(image: np.ndarray, share: float) -> np.ndarray:
    """The pixels that are at least so light, as a share of the range from the darkest to the lightest, (H, W) bool."""
    darkest, lightest = image.min(), image.max()
    return image >= darkest + share * (lightest - darkest)


def depth_of(inside: np.ndarray) -> np.ndarray:
    """How far each pixel of a shape (H, W) is from the nearest pixel outside of it, (H, W)."""
    from scipy import ndimage  # takes half a second to import, and few runs measure strokes

    return np.asarray(ndimage.distance_transform_edt(inside))


def length_of(skeleton: np.ndarray) -> float:
    """The length of a skeleton (H, W): the distances between all pixels of it that touch, at sides or at corners."""
    sides = (skeleton[1:] & skeleton[:-1]).sum() + (skeleton[:, 1:] & skeleton[:, :-1]).sum()
    corners = (skeleton[1:, 1:] & skeleton[:-1, :-1]).sum() + (skeleton[1:, :-1] & skeleton[:-1, 1:]).sum()
    return float(sides) + math.sqrt(2) * float(corners)


def shear_of(image: np.ndarray) -> tuple[float, float]:
    """The horizontal shear of the mass of an image (H, W), and the row of its centre.

    The shear is the covariance of column and row, divided by the variance of the row; 0 if there is one row only.
    """
    rows, columns = np.arange(image.shape[0]), np.arange(image.shape[1])
    mass = image.sum()
    row, column = image.sum(axis=1) @ rows / mass, image.sum(axis=0) @ columns / mass
    covariance, variance = (rows - row) @ image @ (columns - column), image.sum(axis=1) @ np.square(rows - row)
    return float(covariance / variance) if variance else 0.0, float(row)


def width_of(image: np.ndarray, shear: float, middle: float) -> float:
    """The horizontal extent of the mass of an image (H, W), sheared back about its middle row."""
    rows, columns = np.indices(image.shape)
    straight = np.floor(columns + 0.5 - shear * (rows - middle)).astype(int).clip(0, image.shape[1] - 1)
    return extent_of(np.bincount(straight.ravel(), weights=image.ravel(), minlength=image.shape[1]))


def extent_of(mass: np.ndarray) -> float:
    """Where all but `CUT` of the mass at either end lies: how far, of mass (L,) by row or column."""
    below = np.concatenate([[0.0], mass.cumsum() / mass.sum()])
    start, end = np.interp([CUT, 1 - CUT], below, np.arange(len(below)))
    return float(end - start)
