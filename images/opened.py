"""Opens image files with Pillow, and turns every error into one sentence."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from ..errors import ImageError, reason_in_brackets
from ..switches import Switch
from .faults import HEAD, UNSUPPORTED, format_of, is_heif, what_it_is

# Pillow knows more formats. Left out are those that start other programs (EPS), contain vector graphics (WMF), or have
# so weak a signature that text is taken for an image (TGA). "JPEG" includes MPO.
FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "DIB", "WEBP", "AVIF", "JPEG2000", "ICO", "PPM")

MOST_PIXELS = 2**30 // 4 // 3  # Pillow's own limit, of an image of a quarter of a GiB

# Code that is imported with a model may set them.
_TRUNCATED = Switch(
    lambda: ImageFile.LOAD_TRUNCATED_IMAGES, lambda value: setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", value), False
)
_LIMIT = Switch(lambda: Image.MAX_IMAGE_PIXELS, lambda value: setattr(Image, "MAX_IMAGE_PIXELS", value), MOST_PIXELS)


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
        pixels = opened.size[0] * opened.size[1]
        if pixels > MOST_PIXELS:  # above twice as many, Pillow itself raises an error
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
        with _TRUNCATED.held(), _LIMIT.held():
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
        raise ImageError(f"{place}: {size}, more than the {MOST_PIXELS:,} that are safe; shrink it first") from error
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
