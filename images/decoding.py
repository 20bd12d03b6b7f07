"""Decodes image files to upright pictures with 8 bits per channel in sRGB; errors are one sentence."""

from __future__ import annotations

import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import ImageError, reason_in_brackets
from .colour import scaled_key, to_srgb
from .faults import HEAD, UNSUPPORTED, format_of, is_heif, what_it_is
from .scale import DeepRange, Scale

# Pillow knows more formats. Left out are those that start other programs (EPS), contain vector graphics (WMF), or have
# so weak a signature that text is taken for an image (TGA). "JPEG" includes MPO.
FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "DIB", "WEBP", "AVIF", "JPEG2000", "ICO", "PPM")

ORIENTATION = 0x0112  # EXIF tag; values from 5 on mean a rotation by 90 degrees
TIFF_SIZE = 256, 257  # tags of width and height
TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_SAMPLE_FORMAT, WHITE_IS_ZERO = 258, 262, 339, 0  # TIFF 6.0, sections 8 and 19
UNSIGNED, SIGNED = 1, 2  # values of the sample format
DEEP_MODES = ("I", "F")  # first letters of Pillow's modes with more than 8 bits per channel


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
    """

    size: tuple[int, int]
    mode: str
    deep: bool


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
        return Header((height, width) if not sideways else (width, height), opened.mode, _is_deep(opened))


def deep_range(file: Path | bytes, place: str) -> DeepRange | None:
    """The values of an image file with more than 8 bits per channel; None if it has 8 or fewer.

    Raises:
        ImageError: as `decode`.
    """
    if isinstance(file, Path):
        check_file(file)
    with one_sentence(place, file), opened_image(file if isinstance(file, Path) else BytesIO(file)) as opened:
        if not _is_deep(opened):
            return None
        swapped = _swapped_type(opened)
        return _range_of(opened, _values(_loaded(opened), opened, swapped))


@contextmanager
def opened_image(file: Path | BinaryIO) -> Iterator[Image.Image]:
    """Open an image file with Pillow, or a HEIC file with pillow-heif if it is installed.

    Raises:
        Image.DecompressionBombError: it has more pixels than Pillow considers safe.
        UnidentifiedImageError: it is of no format that can be read.
    """
    try:
        found: Image.Image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        if not is_heif(_head_of(file)):
            raise
        found = _open_heif(file)
    with found as opened:
        limit = Image.MAX_IMAGE_PIXELS
        pixels = opened.size[0] * opened.size[1]
        if limit is not None and pixels > limit:  # above twice as many, Pillow itself raises an error
            raise Image.DecompressionBombError(f"{pixels} pixels")
        yield opened


def _head_of(file: Path | bytes | BinaryIO) -> bytes:
    """The first bytes of a file."""
    if isinstance(file, bytes):
        return file[:HEAD]
    if isinstance(file, Path):
        with open(file, "rb") as stream:
            return stream.read(HEAD)
    file.seek(0)
    head = file.read(HEAD)
    file.seek(0)
    return head


def _open_heif(file: Path | BinaryIO) -> Image.Image:
    try:
        library = import_module("pillow_heif")  # an extra: its decoder is large, and under the LGPL
    except ImportError as error:
        raise _Unsupported(
            "a HEIC image, which needs pillow-heif; install it with: pip install 'cfx-toolkit[heif]'"
        ) from error
    return library.open_heif(file, convert_hdr_to_8bit=True).to_pillow()


class _Unsupported(Exception):
    """The message says what the file is, and what to do."""


@contextmanager
def one_sentence(place: str, file: Path | bytes | None = None) -> Iterator[None]:
    """Turn every error of a decoder into an ImageError that names the image, what is wrong, and what to do.

    Args:
        place: the name of the image.
        file: the file or its content, to look at what it is if it is no image.
    """
    try:
        yield
    except ImageError:
        raise
    except _Unsupported as error:
        raise ImageError(f"{place}: {error}") from error
    except PermissionError as error:
        raise ImageError(f"{place}: could not be opened (permission denied); check its permissions") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        count = re.search(r"\d+", str(error))  # Pillow gives the size only in its message
        size = f"{int(count.group()):,} pixels" if count else "too many pixels"
        limit = f"{Image.MAX_IMAGE_PIXELS or 0:,}"
        raise ImageError(f"{place}: {size}, more than the {limit} that are safe; shrink it first") from error
    except MemoryError as error:
        raise ImageError(f"{place}: needs more memory than is available; shrink it first") from error
    except Exception as error:  # on malformed files Pillow's decoders may raise any exception
        raise ImageError(f"{place}: {_fault(error, b'' if file is None else _head_of(file))}") from error


def _fault(error: Exception, head: bytes) -> str:
    """What is wrong with a file that begins with `head` and could not be decoded, and what to do."""
    other = what_it_is(head)
    if other is not None:
        return other
    kind, reason = format_of(head), reason_in_brackets(error)
    if isinstance(error, UnidentifiedImageError):
        if kind is None:
            return "not an image that cfx can read, or a badly damaged one; convert it to PNG or JPEG"
        if kind in UNSUPPORTED:
            return f"a {kind} file of a kind that cfx cannot read, or a damaged one; export it as PNG"
        return f"a {kind} file whose beginning is damaged; export or copy it again"
    if kind in UNSUPPORTED and re.search(r"unsupported|unknown|not available|not supported|invalid mode", reason):
        return f"a {kind} file of a kind that cfx cannot read ({reason}); export it as PNG"
    return f"the image is cut off or damaged ({reason}); export or copy it again"


def _decode(opened: Image.Image, place: str, scale: Scale | None) -> Decoded:
    # MPO files are photos taken by phones; their other frames are previews and depth maps
    frames = 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)
    key, swapped = scaled_key(opened), _swapped_type(opened)
    notes = (f"holds {frames} frames: only the first is read",) if frames > 1 else ()
    upright = _upright(_loaded(opened))
    if key is not None:
        upright.picture.info["transparency"] = key
    profile = opened.info.get("icc_profile")
    if _is_deep(opened):
        values = _values(upright.picture, opened, swapped)
        found = _shallow(opened, values, upright.picture.info.get("transparency"), place, scale)
        if profile:
            found = Decoded(found.picture, (*found.notes, "its colour profile is ignored, as it has over 8 bits"))
    else:
        found = _eight_bits(upright.picture, profile)
    return Decoded(found.picture, (*notes, *upright.notes, *found.notes))


def check_file(path: Path) -> None:
    """Raise an ImageError unless a path is that of a regular file that is not empty."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        if path.is_symlink():
            raise ImageError(f"{path}: a link to {path.readlink()}, which does not exist; restore that file") from error
        raise ImageError(f"{path}: no such file; check the name and the directory") from error
    except (OSError, ValueError) as error:
        raise ImageError(
            f"{path}: could not be opened ({reason_in_brackets(error)}); check name and permissions"
        ) from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path}: is a directory, not an image; give a file in it")
    if not stat.S_ISREG(status.st_mode):  # reading could block on a pipe and never end on a device
        raise ImageError(f"{path}: not a regular file; save the image to a file first")
    if status.st_size == 0:
        raise ImageError(f"{path}: is empty (0 bytes); export or copy it again")


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


def _is_deep(opened: Image.Image) -> bool:
    """Whether a picture may have values that are not 8-bit levels."""
    return opened.mode[0] in DEEP_MODES or (opened.mode == "L" and _sample_format(opened) == SIGNED)


def _sample_format(opened: Image.Image) -> int:
    """The TIFF tag that says whether values are signed; `UNSIGNED` if there is none."""
    found = getattr(opened, "tag_v2", {}).get(TIFF_SAMPLE_FORMAT, UNSIGNED)
    return int(found[0] if isinstance(found, tuple) else found)


def _loaded(opened: Image.Image) -> Image.Image:
    """The picture with its pixels loaded."""
    tags = getattr(opened, "tag_v2", {})
    stored = tuple(tags.get(tag) for tag in TIFF_SIZE)
    if stored == opened.size[::-1] and getattr(opened, "tile", None):
        opened._size = stored  # Pillow 13.0 decodes a TIFF that must be rotated into a buffer of its size when upright
    opened.load()
    return opened


def _swapped_type(opened: Image.Image) -> str | None:
    """The type of the values whose bytes Pillow swaps once too often; None if it reads them right.

    Libtiff, which decodes compressed TIFFs, gives values in the machine's byte order, but Pillow (12 and 13) swaps
    those of big-endian files again, except for unsigned 16-bit ones. To be called before the pixels are loaded.
    """
    tiles: list[Any] = getattr(opened, "tile", [])
    if not tiles or tiles[0][0] != "libtiff" or sys.byteorder == "big":
        return None
    return {"I;16BS": "i2", "I;32BS": "i4", "I;32B": "i4", "F;32BF": "f4"}.get(tiles[0][3][0])


def _values(picture: Image.Image, opened: Image.Image, swapped: str | None) -> np.ndarray:
    """The values (H, W) of a deep picture in double precision.

    Pillow reads signed 8-bit values as unsigned ones, and unsigned 32-bit values as signed ones.

    Args:
        picture: the picture, loaded and upright.
        opened: the picture as opened, with the tags of its file.
        swapped: as `_swapped_type`.

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


def _range_of(opened: Image.Image, values: np.ndarray) -> DeepRange:
    low, high = float(values.min()), float(values.max())
    sixteen = opened.mode.startswith("I;16") or (opened.mode, opened.format) in (("I", "PPM"), ("I", "PNG"))
    kind = "float" if opened.mode == "F" else "signed" if low < 0 else "16-bit" if sixteen else "32-bit"
    declared = 4095.0 if _bits(opened) == (12,) else None
    return DeepRange(kind, low, high, declared=declared)


def _shallow(opened: Image.Image, values: np.ndarray, transparent: object, place: str, scale: Scale | None) -> Decoded:
    """Converts deep values (H, W) to L, or to LA if one value is transparent (Pillow's conversion clips at 255)."""
    notes: list[str] = []
    if scale is None:
        found = _range_of(opened, values)
        scale, says = found.decide(place)
        if not (found.kind == "16-bit" and scale.white == 65535.0 and found.high > 32767):
            notes.append(says)
    levels = scale.to_bytes(values, place)
    if getattr(opened, "tag_v2", {}).get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO:
        levels = 255 - levels
    grey = Image.fromarray(levels)
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return Decoded(grey, tuple(notes))
