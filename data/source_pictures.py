"""Where the pictures of an image set may lie: in files, as encoded bytes, or in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .decoding import FORMATS, _eight_bits, _quiet, _reason, _shallow, _upright, decode
from .errors import ImageError
from .images import fitted, read_image, without_alpha

Shape = tuple[int, int, int]

ORIENTATION = 0x0112  # of EXIF; from 5 on the picture lies on its side


class Pictures(ABC):
    """Where the pictures of an image set lie; they are read by index, from several threads."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def header(self, index: int) -> tuple[tuple[int, int], str]:
        """(H, W) as seen, and Pillow's mode, without decoding where the format allows; ImageError if broken."""

    @abstractmethod
    def decoded(self, index: int) -> Image.Image:
        """The picture upright, in mode L, LA, RGB or RGBA; ImageError if broken."""

    @abstractmethod
    def bytes_on_disk(self) -> int:
        """Of all pictures together."""

    def read(self, index: int, shape: Shape, fit: str = "pad") -> np.ndarray:
        """(C, H, W) uint8 in the classifier's shape, as `read_image` would read it; ImageError if broken."""
        picture = without_alpha(self.decoded(index), False, [])
        picture, _ = fitted(picture.convert("L" if shape[0] == 1 else "RGB"), (shape[2], shape[1]), [], fit)
        return np.asarray(picture).reshape(*shape[1:], shape[0]).transpose(2, 0, 1)

    def as_they_are(self, indices: Tensor, shape: Shape) -> Tensor | None:
        """(M, C, H, W) uint8 where the pictures lie in memory in just this shape, else None."""
        return None


class FilePictures(Pictures):
    """One image file each."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def header(self, index: int) -> tuple[tuple[int, int], str]:
        return _header(self.paths[index], str(self.paths[index]))

    def decoded(self, index: int) -> Image.Image:
        return decode(self.paths[index], [])

    def read(self, index: int, shape: Shape, fit: str = "pad") -> np.ndarray:
        return (read_image(self.paths[index], shape, fit=fit).pixels * 255).round().to(torch.uint8).numpy()

    def bytes_on_disk(self) -> int:
        return sum(_file_size(path) for path in self.paths)


class EncodedPictures(Pictures):
    """Image files kept as bytes inside something else.

    Args:
        count: how many.
        encoded: the bytes of one by its index.
        place: how a sentence names one by its index.
        size: bytes of all.
    """

    def __init__(self, count: int, encoded: Callable[[int], bytes], place: Callable[[int], str], size: int) -> None:
        self._count, self._encoded, self._place, self._size = count, encoded, place, size

    def __len__(self) -> int:
        return self._count

    def header(self, index: int) -> tuple[tuple[int, int], str]:
        return _header(BytesIO(self._encoded(index)), self._place(index))

    def decoded(self, index: int) -> Image.Image:
        # as data/decoding.py does with a file
        try:
            with _quiet(), Image.open(BytesIO(self._encoded(index)), formats=FORMATS) as opened:
                opened.load()
                upright = _upright(opened, [])
                return _shallow(opened, upright, []) if upright.mode[0] in "IF" else _eight_bits(upright)
        except Exception as error:  # on hostile files Pillow's decoders raise nearly anything
            raise ImageError(f"{self._place(index)}: the image is cut off or damaged ({_reason(error)})") from error

    def bytes_on_disk(self) -> int:
        return self._size


class ArrayPictures(Pictures):
    """Pictures of one size that lie in memory: (N, C, H, W) uint8, C being 1 or 3."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def header(self, index: int) -> tuple[tuple[int, int], str]:
        _, channels, height, width = self.images.shape
        return (height, width), "L" if channels == 1 else "RGB"

    def decoded(self, index: int) -> Image.Image:
        image = self.images[index]
        return Image.fromarray((image[0] if len(image) == 1 else image.permute(1, 2, 0)).contiguous().numpy())

    def bytes_on_disk(self) -> int:
        return self.images.numel()

    def as_they_are(self, indices: Tensor, shape: Shape) -> Tensor | None:
        return self.images[indices] if self.images.shape[1:] == shape else None


def _header(file: Path | BytesIO, place: str) -> tuple[tuple[int, int], str]:
    try:
        with _quiet(), Image.open(file, formats=FORMATS) as opened:
            width, height = opened.size
            # asked of a PNG without EXIF data, Pillow decodes all of it to look behind the pixels
            known = opened.format != "PNG" or "exif" in opened.info
            sideways = known and opened.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
            return ((width, height) if sideways else (height, width)), opened.mode
    except Exception as error:  # as in data/decoding.py
        raise ImageError(f"{place}: not an image that cfx can read ({_reason(error)})") from error


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # loading it will say what is wrong
