"""Decodes image files to upright pictures with 8 bits per channel in sRGB; errors are one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .colour import scaled_key, to_srgb
from .deep import is_deep, range_of, swapped_type, to_levels, values_of
from .opened import check_file, one_sentence, opened_image
from .scale import DeepRange, Scale

ORIENTATION = 0x0112  # EXIF tag; values from 5 on mean a rotation by 90 degrees
TIFF_SIZE = 256, 257  # tags of width and height


@dataclass(frozen=True)
class Decoded:
    """A decoded picture.

    Attributes:
        picture: upright, in mode L, LA, RGB or RGBA; if its file has a colour profile, `picture.info` has the one of
            sRGB, to which it was converted.
        notes: a sentence for every decision made in decoding it.
    """

    picture: Image.Image
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Header:
    """What an image file says before it is decoded.

    Attributes:
        size: (H, W) after EXIF rotation.
        mode: Pillow's mode.
        deep: whether it may store more than 8 bits per channel, so that its scale must be known.
        transparent: whether it may have transparent pixels.
    """

    size: tuple[int, int]
    mode: str
    deep: bool
    transparent: bool = False


def decode(path: Path, scale: Scale | None = None) -> Decoded:
    """Decode the first frame of an image file.

    Args:
        path: an image file of one of `FORMATS`, or HEIC, with any extension.
        scale: what black and white are in pictures with more than 8 bits per channel; None decides it by this picture
            alone.

    Raises:
        ImageError: the file is missing, unreadable, empty, not an image, damaged, or too large to open; or its scale
            cannot be told.
    """
    check_file(path)
    with one_sentence(str(path), path), opened_image(path) as opened:
        return _decode(opened, str(path), scale)


def decode_bytes(content: bytes, place: str, scale: Scale | None = None) -> Decoded:
    """Decode the first frame of an image file that is given as bytes.

    Args:
        content: of an image file.
        place: the name of the image in error messages.
        scale: as in `decode`.

    Raises:
        ImageError: as `decode`.
    """
    with one_sentence(place, content), opened_image(BytesIO(content)) as opened:
        return _decode(opened, place, scale)


def decode_picture(picture: Image.Image, place: str, scale: Scale | None = None) -> Decoded:
    """Decode a picture that Pillow has opened or created, as `decode` would decode its file.

    Args:
        picture: the picture; it is not changed.
        place: its name in error messages.
        scale: as in `decode`.

    Raises:
        ImageError: it is damaged, or its scale cannot be told.
    """
    with one_sentence(place):
        return _decode(picture, place, scale)


def header(file: Path | bytes, place: str) -> Header:
    """What an image file says, without decoding it if the format allows.

    Args:
        file: an image file, or its content.
        place: the name of the image in error messages.

    Raises:
        ImageError: it is missing or not an image.
    """
    if isinstance(file, Path):
        check_file(file)
    with one_sentence(place, file), opened_image(file if isinstance(file, Path) else BytesIO(file)) as opened:
        tags = getattr(opened, "tag_v2", {})
        width, height = (tags.get(tag, side) for tag, side in zip(TIFF_SIZE, opened.size, strict=True))
        # for a PNG without EXIF data before the pixels, getexif() would decode the whole file
        known = opened.format != "PNG" or "exif" in opened.info
        sideways = known and opened.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        size = (height, width) if not sideways else (width, height)
        return Header(size, opened.mode, is_deep(opened), opened.has_transparency_data)


def deep_range(file: Path | bytes, place: str) -> DeepRange | None:
    """The values of an image file with more than 8 bits per channel; None if it has 8 or fewer.

    Raises:
        ImageError: as `decode`.
    """
    if isinstance(file, Path):
        check_file(file)
    with one_sentence(place, file), opened_image(file if isinstance(file, Path) else BytesIO(file)) as opened:
        if not is_deep(opened):
            return None
        swapped = swapped_type(opened)
        return range_of(opened, values_of(_loaded(opened), opened, swapped))


def _decode(opened: Image.Image, place: str, scale: Scale | None) -> Decoded:
    # MPO files are photos taken by phones; their other frames are previews and depth maps
    frames = 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)
    key, swapped = scaled_key(opened), swapped_type(opened)
    notes = (f"holds {frames} frames: only the first is read",) if frames > 1 else ()
    upright = _upright(_loaded(opened))
    if key is not None:
        upright.picture.info["transparency"] = key
    profile = opened.info.get("icc_profile")
    if is_deep(opened):
        values = values_of(upright.picture, opened, swapped)
        levels, said = to_levels(opened, values, place, scale)
        picture = Image.fromarray(levels)
        transparent = upright.picture.info.get("transparency")
        if isinstance(transparent, int):  # Pillow's own conversion clips at 255
            picture.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
        ignored = ("its colour profile is ignored, as it has over 8 bits",) if profile else ()
        found = Decoded(picture, (*said, *ignored))
    else:
        found = _eight_bits(upright.picture, profile)
    return Decoded(found.picture, (*notes, *upright.notes, *found.notes))


def _upright(picture: Image.Image) -> Decoded:
    """A copy, rotated according to the EXIF orientation."""
    try:
        return Decoded(ImageOps.exif_transpose(picture))
    except MemoryError:
        raise
    except Exception:  # as above; viewers show such a file without rotation, too
        return Decoded(picture.copy(), ("its EXIF data are damaged: a rotation in them is ignored",))


def _eight_bits(picture: Image.Image, profile: bytes | None) -> Decoded:
    """Converts any 1- or 8-bit mode (1, L, P, CMYK, YCbCr, LAB, ...) to L, LA, RGB or RGBA in sRGB."""
    grey = picture.mode in ("1", "L", "LA", "La")
    notes: list[str] = []
    if profile and picture.mode == "CMYK":
        picture, note = to_srgb(picture, profile)
        notes += filter(None, [note])
        profile = None if picture.mode == "RGB" else profile
    if picture.has_transparency_data:
        result = picture.convert("LA" if grey else "RGBA")
    else:
        result = picture.convert("L" if grey else "RGB")
    if profile and picture.mode != "CMYK":
        result, note = to_srgb(result, profile)
        notes += filter(None, [note])
    return Decoded(result, tuple(notes))


def loaded_upright(opened: Image.Image) -> Image.Image:
    """The picture as it is stored, with its pixels loaded and rotated according to the EXIF orientation."""
    return _upright(_loaded(opened)).picture


def _loaded(opened: Image.Image) -> Image.Image:
    """The picture with its pixels loaded."""
    tags = getattr(opened, "tag_v2", {})
    stored = tuple(tags.get(tag) for tag in TIFF_SIZE)
    if stored == opened.size[::-1] and getattr(opened, "tile", None):
        opened._size = stored  # Pillow 13.0 decodes a TIFF that must be rotated into a buffer of its size when upright
    opened.load()
    return opened
