"""Storage of an image set's pictures: files, encoded bytes, or arrays in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ..decoding import Decoded, Header, decode, decode_bytes, deep_range, header
from ..reading import Ground, without_alpha
from ..resizing import resize_picture
from ..scale import DeepRange, Scale

Shape = tuple[int, int, int]


class Pictures(ABC):
    """The pictures of an image set, read by index from several threads."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def header(self, index: int) -> Header:
        """What the picture's file says; decodes only if the format needs it; ImageError if broken."""

    @abstractmethod
    def decoded(self, index: int, scale: Scale | None = None) -> Decoded:
        """The decoded picture, as `decode` gives it; ImageError if broken."""

    def path(self, index: int) -> Path | None:
        """The file of a picture; None if it has none of its own."""
        return None

    def deep_range(self, index: int) -> DeepRange | None:
        """The values of a picture with over 8 bits per channel; None if it has 8 or fewer; ImageError if broken."""
        return None

    @abstractmethod
    def bytes_on_disk(self) -> int:
        """Size of all pictures together."""

    def read(
        self,
        index: int,
        shape: Shape,
        resize: str = "pad",
        scale: Scale | None = None,
        ground: Ground | None = None,
    ) -> np.ndarray:
        """(C, H, W) uint8 in the given shape, as `read_image` would read it; ImageError if broken."""
        picture = without_alpha(self.decoded(index, scale), False, ground).picture
        placed = resize_picture(picture.convert("L" if shape[0] == 1 else "RGB"), (shape[2], shape[1]), resize)
        return np.array(placed.picture).reshape(*shape[1:], shape[0]).transpose(2, 0, 1)

    def as_they_are(self, indices: Tensor, shape: Shape) -> Tensor | None:
        """(M, C, H, W) uint8 if the pictures are in memory in exactly this shape, else None."""
        return None


class FilePictures(Pictures):
    """Pictures in one image file each."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def header(self, index: int) -> Header:
        return header(self.paths[index], str(self.paths[index]))

    def decoded(self, index: int, scale: Scale | None = None) -> Decoded:
        return decode(self.paths[index], scale)

    def path(self, index: int) -> Path | None:
        return self.paths[index]

    def deep_range(self, index: int) -> DeepRange | None:
        return deep_range(self.paths[index], str(self.paths[index]))

    def bytes_on_disk(self) -> int:
        return sum(_file_size(path) for path in self.paths)


class EncodedPictures(Pictures):
    """Pictures stored as the bytes of image files inside a larger file or table.

    Args:
        count: the number of pictures.
        encoded: returns the bytes of a picture by its index.
        place: returns the name of a picture in error messages by its index.
        size: bytes of all pictures.
    """

    def __init__(self, count: int, encoded: Callable[[int], bytes], place: Callable[[int], str], size: int) -> None:
        self._count, self._encoded, self._place, self._size = count, encoded, place, size

    def __len__(self) -> int:
        return self._count

    def header(self, index: int) -> Header:
        return header(self._encoded(index), self._place(index))

    def decoded(self, index: int, scale: Scale | None = None) -> Decoded:
        return decode_bytes(self._encoded(index), self._place(index), scale)

    def deep_range(self, index: int) -> DeepRange | None:
        return deep_range(self._encoded(index), self._place(index))

    def bytes_on_disk(self) -> int:
        return self._size


class ArrayPictures(Pictures):
    """Pictures of one size in memory: (N, C, H, W) uint8 with C = 1 or 3."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def header(self, index: int) -> Header:
        _, channels, height, width = self.images.shape
        return Header((height, width), "L" if channels == 1 else "RGB", deep=False)

    def decoded(self, index: int, scale: Scale | None = None) -> Decoded:
        image = self.images[index]
        planes = image[0] if len(image) == 1 else image.permute(1, 2, 0)
        return Decoded(Image.fromarray(planes.contiguous().numpy()))

    def bytes_on_disk(self) -> int:
        return self.images.numel()

    def as_they_are(self, indices: Tensor, shape: Shape) -> Tensor | None:
        return self.images[indices] if self.images.shape[1:] == shape else None


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # loading the file will raise an error that says what is wrong
