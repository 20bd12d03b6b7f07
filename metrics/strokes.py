"""How far strokes keep their shape: the relative change of the six measures of Morpho-MNIST, from x to x'.

Castro et al. 2019, arXiv 1809.10780; LeapFactual (Cao et al. 2025, arXiv 2510.14623) reports such changes. All return
(N,), in [0, inf), lower is more kept, NaN where an image has no value, and raise `Missing` for images in colour or
without scikit-image. `stroke_measures` defines the measures.
"""

from __future__ import annotations

from torch import Tensor

from .scene import Scene
from .stroke_measures import MEASURES


def area(scene: Scene) -> Tensor:
    """Relative change of the number of pixels of the drawing, (N,)."""
    return _change(scene, "area")


def thickness(scene: Scene) -> Tensor:
    """Relative change of the mean thickness of the strokes, (N,)."""
    return _change(scene, "thickness")


def length(scene: Scene) -> Tensor:
    """Relative change of the length of the strokes' skeleton, (N,)."""
    return _change(scene, "length")


def slant(scene: Scene) -> Tensor:
    """Relative change of the slant, (N,); NaN also where x is upright."""
    return _change(scene, "slant")


def width(scene: Scene) -> Tensor:
    """Relative change of the width of the bounding parallelogram, (N,)."""
    return _change(scene, "width")


def height(scene: Scene) -> Tensor:
    """Relative change of the height of the bounding parallelogram, (N,)."""
    return _change(scene, "height")


def _change(scene: Scene, name: str) -> Tensor:
    return scene.stroke_changes[:, MEASURES.index(name)]
