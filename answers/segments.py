"""Segments: the regions into which an image is cut, to find out which of them suffice."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import UsageError
from ..images.composites import Box, Grid
from ..images.marks import regions_of, whole
from ..images.resizing import Placement
from .arrays import is_array, values_of

EXTRA = "cfx-toolkit[segments]"
CELLS = 4  # along a side of the image, of the grid
SUPERPIXELS = CELLS**2  # about so many
MAX_SEGMENTS = 100  # segments of a picture, each of which is searched alone
OUTSIDE = np.iinfo(np.int64).min  # of pixels that no segment contains; regions may be numbered from -1


@dataclass(frozen=True)
class Segment:
    """One region of an image.

    Attributes:
        mask: (H, W) bool, its pixels in the classifier's image.
        colour: of the region in a picture of segments, as #rrggbb, or its value; None if there is no picture.
    """

    mask: Tensor
    colour: str | None = None

    @property
    def box(self) -> Box:
        """The smallest rectangle around it, in pixels of the classifier's image."""
        rows, columns = self.mask.any(dim=1).nonzero().flatten(), self.mask.any(dim=0).nonzero().flatten()
        return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)

    def within(self, allowed: Tensor) -> Segment:
        """The part of it that may change, by a mask (H, W)."""
        return Segment(self.mask & allowed, self.colour)


class Segments:
    """How images are cut: into the cells of a grid, into superpixels, or as a picture says."""

    def check(self, name: str, size: tuple[int, int]) -> None:
        """Raise a UsageError if an image of the size (W, H) in pixels, and this name, cannot be cut like this."""

    def of(self, image: Tensor, placement: Placement | None) -> list[Segment]:
        """The segments of an image that was checked: by default the cells of a grid.

        The mask of a segment of a photograph is empty if it is too small or thin for the pixels of the classifier's
        image. What is outside the classifier's image is in no segment.

        Args:
            image: (C, H, W) in [0, 1], as the classifier takes it.
            placement: of the photograph in it; None if it is the photograph.
        """
        grid = Grid((image.shape[1], image.shape[2]), CELLS, match_colour=False)
        masks = torch.zeros(len(grid), *image.shape[1:], dtype=torch.bool)
        for cell, mask in enumerate(masks):
            left, top, right, bottom = grid.box(cell)
            mask[top:bottom, left:right] = True
        return [Segment(mask) for mask in masks]


class Superpixels(Segments):
    """Regions of similar colour: SLIC (Achanta et al. 2012), in the variant without a parameter, of scikit-image."""

    def of(self, image: Tensor, placement: Placement | None) -> list[Segment]:
        segmentation = library()
        colours = image.permute(1, 2, 0).cpu().numpy()
        colours = colours[..., 0] if colours.shape[2] == 1 else colours
        channel = None if colours.ndim == 2 else 2
        found = segmentation.slic(colours, SUPERPIXELS, slic_zero=True, start_label=0, channel_axis=channel)
        labels = torch.from_numpy(found)
        return [Segment(labels == label) for label in labels.unique()]


@dataclass(frozen=True, eq=False)
class Drawn(Segments):
    """Regions of one colour each in a picture as large as the photograph.

    Attributes:
        called: what the picture is called in messages.
        colours: (H', W') int64, the colour of each pixel as one number.
        valued: whether they are numbers of regions, and not colours.
    """

    called: str
    colours: np.ndarray
    valued: bool = False

    @classmethod
    def read(cls, picture: Path | Image.Image) -> Drawn:
        """The regions in a picture or its file.

        Raises:
            ImageError: it cannot be read.
            UsageError: it has too few or too many colours, or values that are no whole numbers.
        """
        called = f"segments {picture}" if isinstance(picture, Path) else "segments"
        return cls._of(called, *regions_of(picture, called))

    @classmethod
    def of_array(cls, values: np.ndarray) -> Drawn:
        """The regions in an array (H', W') of whole numbers; errors as `read`."""
        if values.ndim != 2:
            raise UsageError(f"segments: an array of shape {values.shape}; expected (height, width), a number a region")
        return cls._of("segments", whole(values, "segments"), True)

    @classmethod
    def _of(cls, called: str, colours: np.ndarray, valued: bool) -> Drawn:
        count = len(np.unique(colours))
        if 2 <= count <= MAX_SEGMENTS:
            return cls(called, colours, valued)
        if not valued:
            raise UsageError(
                f"{called}: {count} colours; draw each of 2 to {MAX_SEGMENTS} regions in a colour of its own, and save "
                "it without loss, as PNG"
            )
        raise UsageError(
            f"{called}: {count} different values; give each of 2 to {MAX_SEGMENTS} regions a value of its own, as each "
            "is searched alone"
        )

    def check(self, name: str, size: tuple[int, int]) -> None:
        if self.colours.shape != size[::-1]:
            found = "x".join(map(str, self.colours.shape[::-1]))
            raise UsageError(f"{self.called}: is {found} pixels and {name} is {size[0]}x{size[1]}; they must be equal")

    def of(self, image: Tensor, placement: Placement | None) -> list[Segment]:
        colours = seen = self.colours
        if placement is not None:
            x, y, x_end, y_end = placement.source
            colours, seen = placed(colours, placement, (image.shape[1], image.shape[2])), colours[y:y_end, x:x_end]
        labels = torch.from_numpy(colours)
        return [
            Segment(labels == label, str(label) if self.valued else f"#{label:06x}")
            for label in np.unique(seen).tolist()
        ]


def placed(colours: np.ndarray, placement: Placement, size: tuple[int, int]) -> np.ndarray:
    """Colours (H', W') of a photograph at the size (H, W) of the classifier's image, and `OUTSIDE` around it."""
    left, top, right, bottom = placement.target
    x, y, x_end, y_end = placement.source
    result = np.full(size, OUTSIDE, dtype=np.int64)
    columns = x + ((np.arange(right - left) + 0.5) * (x_end - x) / (right - left)).astype(int)
    rows = y + ((np.arange(bottom - top) + 0.5) * (y_end - y) / (bottom - top)).astype(int)
    result[top:bottom, left:right] = colours[np.ix_(rows, columns)]
    return result


def segments_of(given: object) -> Segments:
    """What was asked for: "grid", "slic", or a picture, its file or an array of a number for each region.

    Raises:
        ImageError: the picture cannot be read.
        UsageError: there is no such file, or it shows no regions, or what superpixels need is not installed.
    """
    if isinstance(given, Image.Image):
        return Drawn.read(given)
    if is_array(given):
        return Drawn.of_array(values_of(given, "segments").numpy())
    if not isinstance(given, bool | str | PathLike):
        kind = type(given).__name__
        raise UsageError(f"segments: a {kind}; give grid, slic, or a picture of the regions, its file or an array")
    if given in ("grid", True):
        return Segments()
    if given == "slic":
        library()
        return Superpixels()
    path = Path(str(given)).expanduser()
    if not path.is_file():
        raise UsageError(f"segments {given}: no such file; give a picture of the regions, grid or slic")
    return Drawn.read(path)


def library() -> Any:
    """scikit-image's segmentation.

    Raises:
        UsageError: it is not installed.
    """
    try:
        from skimage import segmentation
    except ImportError as error:
        raise UsageError(f"segments slic: needs scikit-image; pip install '{EXTRA}'") from error
    return segmentation
