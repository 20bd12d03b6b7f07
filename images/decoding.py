"""Decodes image files to upright pictures with 8 bits per channel; errors are one sentence."""

from __future__ import annotations

import logging
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import ImageError

# Pillow knows more formats. Left out are those that start other programs (EPS), contain vector graphics (WMF), or have
# so weak a signature that text is taken for an image (TGA). "JPEG" includes MPO.
FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "DIB", "WEBP", "AVIF", "JPEG2000", "ICO", "PPM")

# Possible values of white in 32-bit files, which do not declare it.
WHITES = (1.0, 255.0, 65535.0)

ORIENTATION = 0x0112  # EXIF tag; values from 5 on mean a rotation by 90 degrees
TIFF_BITS, TIFF_PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF 6.0, section 8

# Pillow also reports oddities in a file through the logging module, which would print them.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Decoded:
    """A decoded picture.

    Attributes:
        picture: upright, in mode L, LA, RGB or RGBA.
        notes: a sentence for every decision made in decoding it.
    """

    picture: Image.Image
    notes: tuple[str, ...] = ()


def decode(path: Path) -> Decoded:
    """Decode the first frame of an image file.

    Args:
        path: an image file of one of `FORMATS`, with any extension.

    Raises:
        ImageError: the file is missing, unreadable, empty, not an image, damaged, or too large to open.
    """
    _check_file(path)
    try:
        return _decode(path)
    except PermissionError as error:
        raise ImageError(f"{path}: could not be opened (permission denied); check its permissions") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path}: not an image that cfx can read, or a badly damaged one; convert it to PNG or JPEG"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        count = re.search(r"\d+", str(error))  # Pillow gives the size only in its message
        size = f"{int(count.group()):,} pixels" if count else "too many pixels"
        limit = f"{Image.MAX_IMAGE_PIXELS or 0:,}"
        raise ImageError(f"{path}: {size}, more than the {limit} that are safe; shrink it first") from error
    except MemoryError as error:
        raise ImageError(f"{path}: needs more memory than is available; shrink it first") from error
    except Exception as error:  # on malformed files Pillow's decoders may raise any exception
        raise ImageError(
            f"{path}: the image is cut off or damaged ({reason_in_brackets(error)}); export or copy it again"
        ) from error


def decode_bytes(content: bytes, place: str) -> Decoded:
    """Decode the first frame of an image file that is given as bytes.

    Args:
        content: of an image file.
        place: the name of the image in error messages.

    Raises:
        ImageError: it is not an image, damaged, or too large to open.
    """
    try:
        return _decode(BytesIO(content))
    except Exception as error:  # on malformed files Pillow's decoders may raise any exception
        raise ImageError(f"{place}: the image is cut off or damaged ({reason_in_brackets(error)})") from error


def decode_picture(picture: Image.Image) -> Decoded:
    """Decode a picture that Pillow has opened or created, as `decode` would decode its file.

    Raises:
        ImageError: it is damaged.
    """
    try:
        picture.load()
        return _understood(picture)
    except Exception as error:  # as in `decode_bytes`
        raise ImageError(f"{picture!r}: the image is cut off or damaged ({reason_in_brackets(error)})") from error


def header(file: Path | BytesIO, place: str) -> tuple[tuple[int, int], str]:
    """(H, W) after EXIF rotation, and Pillow's mode, without decoding if the format allows.

    Args:
        file: an image file.
        place: the name of the image in error messages.

    Raises:
        ImageError: it is not an image.
    """
    try:
        with quiet(), Image.open(file, formats=FORMATS) as opened:
            width, height = opened.size
            # for a PNG without EXIF data before the pixels, getexif() would decode the whole file
            known = opened.format != "PNG" or "exif" in opened.info
            sideways = known and opened.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
            return ((width, height) if sideways else (height, width)), opened.mode
    except Exception as error:  # as in `decode_bytes`
        raise ImageError(f"{place}: not an image that cfx can read ({reason_in_brackets(error)})") from error


def _decode(file: Path | BytesIO) -> Decoded:
    with quiet(), Image.open(file, formats=FORMATS) as opened:
        # MPO files are photos taken by phones; their other frames are previews and depth maps
        frames = 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)
        opened.load()
        notes = (f"holds {frames} frames: only the first is read",) if frames > 1 else ()
        found = _understood(opened)
        return Decoded(found.picture, (*notes, *found.notes))


def _understood(opened: Image.Image) -> Decoded:
    """Converts a loaded picture to an upright one with 8 bits per channel."""
    upright = _upright(opened)
    deep = upright.picture.mode[0] in "IF"
    found = _shallow(opened, upright.picture) if deep else Decoded(_eight_bits(upright.picture))
    return Decoded(found.picture, (*upright.notes, *found.notes))


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except FileNotFoundError as error:
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


@contextmanager
def quiet() -> Iterator[None]:
    """Suppresses warnings, but raises the one about a decompression bomb."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def reason_in_brackets(error: Exception) -> str:
    """An error's message as one line, to be put in brackets."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    said = " ".join(said.split())
    return said[:1].lower() + said[1:].rstrip(".")


def _upright(picture: Image.Image) -> Decoded:
    """A copy, rotated according to the EXIF orientation."""
    try:
        return Decoded(ImageOps.exif_transpose(picture))
    except MemoryError:
        raise
    except Exception:  # as above; viewers show such a file without rotation, too
        return Decoded(picture.copy(), ("its EXIF data are damaged: a rotation in them is ignored",))


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Converts any 1- or 8-bit mode (1, L, P, CMYK, YCbCr, LAB, ...) to L, LA, RGB or RGBA."""
    grey = picture.mode in ("1", "L", "LA", "La")
    if picture.has_transparency_data:
        return picture.convert("LA" if grey else "RGBA")
    return picture.convert("L" if grey else "RGB")


def _shallow(opened: Image.Image, upright: Image.Image) -> Decoded:
    """Converts 16- and 32-bit greyscale to L, or to LA if one value is transparent (Pillow's conversion clips at 255).

    Raises:
        ValueError: some values are NaN or infinite.
    """
    values = np.asarray(upright).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("some of its values are NaN or infinite")
    tags = getattr(opened, "tag_v2", {})
    low, high = float(values.min()), float(values.max())
    black, white = 0.0, 65535.0
    notes: list[str] = []
    if upright.mode.startswith("I;16") or (upright.mode, opened.format) == ("I", "PPM"):
        if tags.get(TIFF_BITS) == (12,):
            white = 4095.0
        if high < white / 16:
            notes.append(f"values reach only {high:g} of {white:g}, so it is nearly black")
    elif low >= 0 and high <= WHITES[-1]:
        white = next(white for white in WHITES if high <= white)
        notes.append(f"values from {low:g} to {high:g}: taken as shares of {white:g}")
    else:
        black, white = low, max(high, low + 1)
        notes.append(f"values from {low:g} to {high:g}: stretched to black and white")
    shares = (values - black) / (white - black)
    if tags.get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO:
        shares = 1 - shares
    grey = Image.fromarray((shares * 255).round().astype(np.uint8))
    transparent = upright.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return Decoded(grey, tuple(notes))
