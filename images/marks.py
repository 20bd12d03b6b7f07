"""Pictures and arrays whose values are marks and not brightness: masks, and maps of regions, as tools write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import UsageError
from .decoding import decode, decode_picture, loaded_upright
from .deep import is_deep, swapped_type, values_of
from .opened import check_file, one_sentence, opened_image
from .reading import is_transparent, without_alpha

WHITES = (255, 65535)  # of whole numbers; that of floats is 1, if none is larger


def light_pixels(picture: Path | Image.Image, place: str) -> np.ndarray:
    """The light pixels (H, W) of a mask, bool: those above half of white.

    If there are two values and one is 0, the other is light, whatever it is: 1, 255, a colour of a palette. What is
    transparent is dark; if all that is visible has one colour, the opaque pixels are the light ones.

    Args:
        picture: a picture or its file, of any depth.
        place: its name in messages.

    Raises:
        ImageError: it cannot be read.
        UsageError: no pixel is light.
    """
    values = deep_values(picture, place)
    if values is not None:
        return light_values(values, place)
    decoded = decode(picture) if isinstance(picture, Path) else decode_picture(picture, place)
    if is_transparent(decoded):
        opaque = np.asarray(decoded.picture.getchannel("A")) >= 128
        colours = np.asarray(decoded.picture.convert("RGB"))[opaque]
        if len(colours) and bool((colours == colours[0]).all()):
            return opaque
    grey = without_alpha(decoded, light_on_dark=True, ground="black").picture.convert("L")
    return light_values(np.asarray(grey), place)


def light_values(values: np.ndarray, place: str) -> np.ndarray:
    """The light ones among values (H, W) of any type, bool; as `light_pixels`.

    Raises:
        UsageError: none is light, or some are NaN.
    """
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    if not values.size or not np.isfinite(values).all():
        raise UsageError(f"{place}: is empty, or some of its values are NaN or infinite; paint white what may change")
    low, high = float(values.min()), float(values.max())
    fractions = values.dtype.kind == "f" and high <= 1 and not bool((values == values.round()).all())
    white = 1.0 if fractions else next((white for white in WHITES if high <= white), high)
    two = high > 0 and bool(((values == high) | (values == 0)).all())
    light = values == high if two else values >= white / 2
    if not light.any():
        raise UsageError(
            f"{place}: has no light pixel (its values are {low:g} to {high:g}, and white is {white:g}), so that "
            "nothing may change; paint white what may"
        )
    return light


def regions_of(picture: Path | Image.Image, place: str) -> tuple[np.ndarray, bool]:
    """The regions in a picture or its file, as one number each.

    Returns:
        (H, W) int64; and whether they are values, and not colours as 0xRRGGBB: of over 8 bits, or of a palette that has
        one colour for several of them.

    Raises:
        ImageError: it cannot be read.
        UsageError: its values are no whole numbers.
    """
    values = deep_values(picture, place)
    if values is not None:
        return whole(values, place), True
    decoded = decode(picture) if isinstance(picture, Path) else decode_picture(picture, place)
    red, green, blue = (np.asarray(band, dtype=np.int64) for band in decoded.picture.convert("RGB").split())
    colours = (red << 16) + (green << 8) + blue
    indices = _indices(picture, place)
    if indices is not None and len(np.unique(indices)) > len(np.unique(colours)):
        return indices, True
    return colours, False


def whole(values: np.ndarray, place: str) -> np.ndarray:
    """Values (H, W) as int64.

    Raises:
        UsageError: they are no whole numbers.
    """
    found = values.astype(np.int64) if np.isfinite(values).all() else np.zeros(values.shape, dtype=np.int64)
    if not np.array_equal(found, values):
        raise UsageError(f"{place}: its values are no whole numbers; give each region a number or a colour of its own")
    return found


def deep_values(picture: Path | Image.Image, place: str) -> np.ndarray | None:
    """The values (H, W) of a picture with more than 8 bits per channel; None if it has fewer."""
    if isinstance(picture, Path):
        check_file(picture)
        with one_sentence(place, picture), opened_image(picture) as opened:
            return _deep(opened)
    with one_sentence(place):
        return _deep(picture)


def _deep(opened: Image.Image) -> np.ndarray | None:
    if not is_deep(opened):
        return None
    swapped = swapped_type(opened)
    return values_of(loaded_upright(opened), opened, swapped)


def _indices(picture: Path | Image.Image, place: str) -> np.ndarray | None:
    """The indices (H, W) in the palette of a picture; None if it has none."""
    if isinstance(picture, Image.Image):
        return np.asarray(picture, dtype=np.int64) if picture.mode == "P" else None
    with one_sentence(place, picture), opened_image(picture) as opened:
        return np.asarray(loaded_upright(opened), dtype=np.int64) if opened.mode == "P" else None
