"""Reads an image file in the shape that a model takes.

Images are converted where possible, and notes tell what was decided. Only files that are damaged, unsafe or not images
raise an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..errors import ImageError, UsageError
from .colour import srgb_profile
from .decoding import Decoded, decode, deep_range
from .resizing import Placement, border, resize_picture
from .scale import DeepRange, Scale

Ground = Literal["black", "white"]
"""What transparent pictures are laid on."""

# Of 255. A smaller difference from the ground counts as paper texture and noise, not as strokes.
LEAST_CONTRAST = 25


@dataclass(frozen=True)
class ReadImage:
    """An image in the model's shape.

    Attributes:
        pixels: (C, H, W) float32 in [0, 1], multiples of 1/255.
        notes: what was decided in reading it, one sentence each.
        placement: the image's region in the picture.
    """

    pixels: Tensor
    notes: tuple[str, ...]
    placement: Placement


def read_image(
    path: Path,
    shape: tuple[int, int, int],
    *,
    invert: bool = False,
    light_on_dark: bool = False,
    resize: str = "pad",
    scale: Scale | None = None,
    ground: Ground | None = None,
) -> ReadImage:
    """Read an image file in the model's shape.

    An 8-bit greyscale file of the right size is not changed. Anything else is converted: depth, palette, colour,
    transparency, EXIF rotation, size. By default proportions are kept, and the image is padded with the median colour
    of its border.

    Args:
        path: PNG, JPEG, GIF, TIFF, BMP, WebP, AVIF, JPEG 2000, PPM or ICO; if it has several frames, the first is read.
        shape: (C, H, W) with C = 1 or 3.
        invert: swap light and dark.
        light_on_dark: the model was trained on light strokes on a dark ground: adds a note if the image is the inverse,
            and lays a transparent picture on black if what is visible in it is lighter than mid-grey, unless `ground`
            is given.
        resize: one of `RESIZES`.
        scale: what black and white are in a picture with more than 8 bits per channel; None decides it by this picture
            alone. `scale_of` decides it for several.
        ground: what to lay a transparent picture on; None decides it by this picture alone.

    Raises:
        ImageError: the file is missing, unreadable, empty, not an image, damaged, or too large to open; or its scale
            cannot be told.
        UsageError: C is neither 1 nor 3.
    """
    _check_shape(shape)
    decoded = decode(Path(path), scale)
    return convert(decoded, shape, invert=invert, light_on_dark=light_on_dark, resize=resize, ground=ground)


def convert(
    decoded: Decoded,
    shape: tuple[int, int, int],
    *,
    invert: bool = False,
    light_on_dark: bool = False,
    resize: str = "pad",
    ground: Ground | None = None,
) -> ReadImage:
    """Convert a decoded picture to the model's shape; arguments and errors as in `read_image`."""
    _check_shape(shape)
    channels, height, width = shape
    decoded = without_alpha(decoded, light_on_dark, ground)
    placed = resize_picture(decoded.picture.convert("L" if channels == 1 else "RGB"), (width, height), resize)
    values = np.array(placed.picture).reshape(height, width, channels)
    notes = [*decoded.notes, *placed.notes]
    if invert:
        values = 255 - values
    elif light_on_dark and _looks_dark_on_light(values):
        notes.append("looks like dark on light, but the model was trained on light on dark: try --invert")
    pixels = torch.from_numpy(values).permute(2, 0, 1).contiguous().float() / 255
    return ReadImage(pixels, tuple(notes), placed.placement)


def _check_shape(shape: tuple[int, int, int]) -> None:
    if shape[0] not in (1, 3):
        raise UsageError(f"shape {shape}: only images of 1 or 3 channels can be read from a file")


def carry_back(
    path: Path,
    change: Tensor,
    placement: Placement,
    *,
    light_on_dark: bool = False,
    within: np.ndarray | None = None,
    scale: Scale | None = None,
    ground: Ground | None = None,
) -> Image.Image:
    """Add a change to the picture in a file, at the picture's own resolution.

    Args:
        path: the file that `read_image` has read.
        change: (C, H, W) in [-1, 1], to be added to the image that was read.
        placement: of that image.
        within: (H', W') bool, the pixels of the picture that may change; None: all.
        light_on_dark, scale, ground: as in `read_image`.

    Returns:
        A picture in sRGB, with its profile if the file has a profile.

    Raises:
        ImageError: as `read_image`.
    """
    picture = without_alpha(decode(Path(path), scale), light_on_dark, ground).picture
    left, top, right, bottom = placement.target
    region = change[None, :, top:bottom, left:right].float()
    left, top, right, bottom = placement.source
    enlarged = F.interpolate(region, (bottom - top, right - left), mode="bicubic", align_corners=False)[0]
    values = np.asarray(picture).astype(np.float32)
    values = values[:, :, None] if values.ndim == 2 else values
    if len(enlarged) == 3 and values.shape[2] == 1:
        values = values.repeat(3, axis=2)
    added = 255 * enlarged.permute(1, 2, 0).numpy()
    if within is not None:
        added *= within[top:bottom, left:right, None]
    values[top:bottom, left:right] += added
    changed = Image.fromarray(values.round().clip(0, 255).astype(np.uint8).squeeze())
    if picture.info.get("icc_profile"):
        changed.info["icc_profile"] = srgb_profile()
    return changed


def deep_ranges(paths: Sequence[Path]) -> dict[Path, DeepRange]:
    """The values of the files with more than 8 bits per channel, without those that cannot be read."""
    ranges: dict[Path, DeepRange] = {}
    for path in paths:
        try:
            found = deep_range(path, str(path))
        except ImageError:
            continue
        if found is not None:
            ranges[path] = found
    return ranges


def scale_of(paths: Sequence[Path]) -> tuple[Scale | None, str]:
    """The scale of the pictures with more than 8 bits per channel among some files, decided for all of them together.

    Returns:
        The scale, None if there are no such pictures; and a sentence that says how it was decided.

    Raises:
        ImageError: the scale cannot be told.
    """
    ranges = deep_ranges(paths)
    if not ranges:
        return None, ""
    first, *others = ranges
    return DeepRange.of_all([*ranges.values()]).decide(f"{first} and {len(others)} more" if others else str(first))


def without_alpha(decoded: Decoded, light_on_dark: bool, ground: Ground | None = None) -> Decoded:
    """Lay a transparent picture on a ground of one colour; other pictures are not changed.

    Args:
        decoded: the picture.
        light_on_dark: whether a black ground is expected, as of light strokes on dark.
        ground: the one to lay it on; None decides it by this picture alone: the expected one, or the opposite if the
            picture would not be visible on it.
    """
    picture = decoded.picture
    if not picture.mode.endswith("A"):
        return decoded
    if not is_transparent(decoded):
        return Decoded(picture.convert(picture.mode[:-1]), decoded.notes)
    if ground is not None:
        note = f"transparent: laid on {ground}, as the images that the bundle was made from"
    elif (brightness := visible_brightness(decoded)) is None:
        ground = "black" if light_on_dark else "white"
        note = f"transparent: laid on {ground} (nothing in it is visible)"
    else:
        ground = ground_for(brightness, light_on_dark)
        note = f"transparent: laid on {ground} (what is visible is {'light' if ground == 'black' else 'dark'})"
    alpha = picture.getchannel("A")
    opaque = picture.convert(picture.mode[:-1])
    laid = Image.new(opaque.mode, opaque.size, ground)
    laid.paste(opaque, mask=alpha)
    laid.info = opaque.info
    return Decoded(laid, (*decoded.notes, note))


def is_transparent(decoded: Decoded) -> bool:
    """Whether some pixel of a picture is not opaque."""
    picture = decoded.picture
    return picture.mode.endswith("A") and picture.getchannel("A").getextrema() != (255, 255)


def visible_brightness(decoded: Decoded) -> float | None:
    """The mean brightness, 0 to 1, of what is visible in a picture with alpha; None if nothing is."""
    weight = np.asarray(decoded.picture.getchannel("A"), dtype=np.float32)
    if not weight.any():
        return None
    opaque = decoded.picture.convert(decoded.picture.mode[:-1])
    return float(np.average(np.asarray(opaque.convert("L")), weights=weight)) / 255


def ground_for(brightness: float, strokes: bool) -> Ground:
    """The ground on which something of this brightness is visible.

    Args:
        brightness: of what is visible, 0 to 1.
        strokes: whether it is the ground of strokes, as of writing, which need the larger contrast. Cut-out photographs
            are made for white paper, and visible on it unless they are very light.
    """
    return "black" if brightness >= (0.5 if strokes else 0.75) else "white"


def _looks_dark_on_light(values: np.ndarray) -> bool:
    """Whether 8-bit values (H, W, C) deviate from the median of their border more to the dark than to the light."""
    grey = values.mean(axis=2)
    ground = float(np.median(border(grey)))
    darker, lighter = ground - grey.min(), grey.max() - ground
    return bool(darker > max(lighter, LEAST_CONTRAST))
