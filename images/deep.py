"""Values of pictures with more than 8 bits per channel, which Pillow does not always read as they are meant."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from PIL import Image

from .scale import DeepRange, Scale

TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_SAMPLE_FORMAT, WHITE_IS_ZERO = 258, 262, 339, 0  # TIFF 6.0, sections 8 and 19
UNSIGNED, SIGNED = 1, 2  # values of the sample format
DEEP_MODES = ("I", "F")  # first letters of Pillow's modes with more than 8 bits per channel


def is_deep(opened: Image.Image) -> bool:
    """Whether a picture may have values that are not 8-bit levels."""
    return opened.mode[0] in DEEP_MODES or (opened.mode == "L" and _sample_format(opened) == SIGNED)


def _sample_format(opened: Image.Image) -> int:
    """The TIFF tag that says whether values are signed; `UNSIGNED` if there is none."""
    found = getattr(opened, "tag_v2", {}).get(TIFF_SAMPLE_FORMAT, UNSIGNED)
    return int(found[0] if isinstance(found, tuple) else found)


def swapped_type(opened: Image.Image) -> str | None:
    """The type of the values whose bytes Pillow swaps once too often; None if it reads them right.

    Libtiff, which decodes compressed TIFFs, gives values in the machine's byte order, but Pillow (12 and 13) swaps
    those of big-endian files again, except for unsigned 16-bit ones. To be called before the pixels are loaded.
    """
    tiles: list[Any] = getattr(opened, "tile", [])
    if not tiles or tiles[0][0] != "libtiff" or sys.byteorder == "big":
        return None
    return {"I;16BS": "i2", "I;32BS": "i4", "I;32B": "i4", "F;32BF": "f4"}.get(tiles[0][3][0])


def values_of(picture: Image.Image, opened: Image.Image, swapped: str | None) -> np.ndarray:
    """The values (H, W) of a deep picture in double precision.

    Pillow reads signed 8-bit values as unsigned ones, and unsigned 32-bit values as signed ones.

    Args:
        picture: the picture, loaded and upright.
        opened: the picture as opened, with the tags of its file.
        swapped: as `swapped_type`.

    Raises:
        ValueError: some values are NaN or infinite.
    """
    values = np.asarray(picture)
    if swapped is not None:
        values = values.astype(swapped).byteswap()
    if picture.mode == "L":
        values = values.view(np.int8)
    elif picture.mode == "I" and _sample_format(opened) == UNSIGNED and _bits(opened) == (32,):
        values = values.view(np.uint32)
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("some of its values are NaN or infinite")
    return values


def _bits(opened: Image.Image) -> tuple[int, ...] | None:
    """The bits per sample that a TIFF declares."""
    return getattr(opened, "tag_v2", {}).get(TIFF_BITS)


def range_of(opened: Image.Image, values: np.ndarray) -> DeepRange:
    """The range of the values (H, W) of a deep picture, and what kind of values its file stores."""
    low, high = float(values.min()), float(values.max())
    sixteen = opened.mode.startswith("I;16") or (opened.mode, opened.format) in (("I", "PPM"), ("I", "PNG"))
    kind = "float" if opened.mode == "F" else "signed" if low < 0 else "16-bit" if sixteen else "32-bit"
    declared = 4095.0 if _bits(opened) == (12,) else None
    return DeepRange(kind, low, high, declared=declared)


def to_levels(
    opened: Image.Image, values: np.ndarray, place: str, scale: Scale | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Deep values (H, W) as 8-bit levels, and a note if the scale was decided by this picture alone.

    Raises:
        ImageError: the scale cannot be told, or does not fit.
    """
    notes: tuple[str, ...] = ()
    if scale is None:
        found = range_of(opened, values)
        scale, says = found.decide(place)
        if not (found.kind == "16-bit" and scale.white == 65535.0 and found.high > 32767):
            notes = (says,)
    levels = scale.to_bytes(values, place)
    if getattr(opened, "tag_v2", {}).get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO:
        levels = 255 - levels
    return levels, notes
