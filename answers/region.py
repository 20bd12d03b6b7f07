"""Regions: the part of an image that may change; everything outside stays exactly as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..errors import UsageError
from ..images.marks import light_pixels
from ..images.resizing import Placement
from .wording import rounded

# FastDiME's code dilates changes by 21 of 128 pixels, and keeps what is above 0.15 of the largest.
DILATION = 21 / 128  # width of the window, of the image's longer side
MIN_SHARE_OF_CHANGE = 0.15  # of the largest change


@dataclass(frozen=True)
class Within:
    """Where one image may change.

    Attributes:
        words: what was asked for.
        mask: (1, H, W) bool, at the size of the classifier's image.
        photo: (H', W') bool, at the size of the photograph; None if there is none of another size.
    """

    words: str
    mask: Tensor
    photo: np.ndarray | None = None

    def in_photo(self, placement: Placement) -> np.ndarray:
        """The pixels of the photograph that may change, (H', W') bool."""
        if self.photo is not None:
            return self.photo
        left, top, right, bottom = placement.target
        x, y, x_end, y_end = placement.source
        inside = Image.fromarray(self.mask[0, top:bottom, left:right].numpy())
        photo = np.zeros((placement.size[1], placement.size[0]), dtype=bool)
        photo[y:y_end, x:x_end] = np.asarray(inside.resize((x_end - x, y_end - y), Image.Resampling.NEAREST))
        return photo

    @property
    def share(self) -> float:
        """The share of the pixels that may change."""
        return float(self.mask.float().mean())

    def as_json(self) -> dict[str, object]:
        """The JSON object in a record."""
        return {"asked": self.words, "share": rounded(self.share)}


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """Where images may change, as it was asked for: exactly one of these.

    Attributes:
        box: x, y, width and height in pixels of the photograph.
        mask: a picture as large as the photograph, or its file, whose light pixels may change; transparent is dark.
    """

    box: tuple[int, int, int, int] | None = None
    mask: Path | Image.Image | None = None

    @property
    def words(self) -> str:
        """What was asked for."""
        if self.box is not None:
            return f"region {','.join(map(str, self.box))}"
        return f"mask {self.mask}" if isinstance(self.mask, Path) else "mask"

    def within(self, name: str, size: tuple[int, int], placement: Placement | None) -> Within:
        """Where an image may change.

        Args:
            name: of the image, for messages.
            size: (H, W) of the classifier's image.
            placement: of the photograph in it; None if it is the photograph.

        Raises:
            UsageError: the region is outside the photograph, or has no pixel; or the mask has another size.
            ImageError: the mask cannot be read.
        """
        full = (size[1], size[0]) if placement is None else placement.size
        photo = self._of_mask(name, full) if self.box is None else self._of_box(name, full, self.box)
        mask = photo if placement is None else placed(photo, placement, size)
        if not mask.any():
            pixels = f"{size[1]}x{size[0]} pixels"
            raise UsageError(f"{name}: {self.words} has no pixel of the {pixels} that the classifier sees")
        return Within(self.words, torch.from_numpy(mask)[None], None if placement is None else photo)

    def _of_box(self, name: str, size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
        """The pixels (H', W') of a box in a photograph of the size (W', H')."""
        (width, height), (x, y, wide, high) = size, box
        if not (0 <= x < x + wide <= width and 0 <= y < y + high <= height):
            raise UsageError(f"{name}: {self.words} (x,y,width,height) is not inside its {width}x{height} pixels")
        photo = np.zeros((height, width), dtype=bool)
        photo[y : y + high, x : x + wide] = True
        return photo

    def _of_mask(self, name: str, size: tuple[int, int]) -> np.ndarray:
        """The light pixels (H', W') of the mask, which must have the size (W', H') of a photograph."""
        width, height = size
        if self._light.shape != (height, width):
            found = "x".join(map(str, self._light.shape[::-1]))
            raise UsageError(f"{self.words}: is {found} pixels and {name} is {width}x{height}; they must be equal")
        return self._light

    @cached_property
    def _light(self) -> np.ndarray:
        """The light pixels of the mask, which is read once for all images."""
        assert self.mask is not None
        return light_pixels(self.mask, self.words)


def placed(photo: np.ndarray, placement: Placement, size: tuple[int, int]) -> np.ndarray:
    """Pixels of a photograph as pixels of the classifier's image, (H, W) bool: those of which at least half may change.

    Args:
        photo: (H', W') bool.
        placement: of the photograph in the image.
        size: (H, W) of the image.
    """
    left, top, right, bottom = placement.target
    shares = Image.fromarray(photo.astype(np.float32)).resize(
        (right - left, bottom - top), Image.Resampling.BOX, box=placement.source
    )
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, left:right] = np.asarray(shares) >= 0.5
    return mask


def where_it_changes(factuals: Tensor, found: Tensor) -> Tensor:
    """Where images (N, C, H, W) changed most, and around, (N, 1, H, W) bool.

    As in the second pass of FastDiME (Weng et al., ECCV 2024), which may change only this.
    """
    change = (found - factuals).abs().amax(dim=1, keepdim=True)
    radius = max(1, round(DILATION * max(change.shape[2:]) / 2))
    largest = change.amax(dim=(2, 3), keepdim=True)
    return F.max_pool2d(change, 2 * radius + 1, stride=1, padding=radius) > MIN_SHARE_OF_CHANGE * largest


def stacked(regions: Sequence[Within | None], images: Tensor) -> Tensor | None:
    """The masks of N images as (N, 1, H, W) bool; None if all of them may change everywhere."""
    if all(each is None for each in regions):
        return None
    everywhere = torch.ones(1, *images.shape[2:], dtype=torch.bool)
    return torch.stack([everywhere if each is None else each.mask for each in regions]).to(images.device)
