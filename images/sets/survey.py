"""A look at a sample of an image set: sizes, colour, depth, transparency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import DataError, ImageError
from ..decoding import Decoded
from ..reading import Ground, ground_for, is_transparent, visible_brightness, without_alpha
from ..scale import DeepRange
from .pictures import Pictures

GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")


@dataclass(frozen=True)
class Survey:
    """Properties of a random sample of an image set.

    Attributes:
        size: the most common (H, W), after EXIF rotation.
        smallest: smallest H and smallest W in the sample.
        largest: largest H and largest W in the sample.
        same_size: whether all images of the sample have one size.
        channels: 1 if the content of the whole sample is grey, else 3.
        bytes_on_disk: of the whole set.
        looked_at: the number of images in the sample.
        broken: one sentence for each image of the sample that could not be read.
        sampled: the indices of the sample.
        unreadable: those of the `broken` images.
        deep: the values of the sample's images with more than 8 bits per channel; None if there are none.
        transparent: the number of images in the sample with transparent pixels, but for deep ones.
        brightness: the mean brightness, 0 to 1, of what is visible in them; None if nothing is.
    """

    size: tuple[int, int]
    smallest: tuple[int, int]
    largest: tuple[int, int]
    same_size: bool
    channels: int
    bytes_on_disk: int
    looked_at: int
    broken: tuple[str, ...]
    sampled: tuple[int, ...] = ()
    unreadable: tuple[int, ...] = ()
    deep: DeepRange | None = None
    transparent: int = 0
    brightness: float | None = None

    @property
    def ground(self) -> Ground | None:
        """The one ground for all transparent images, on which they are visible; None if there are none."""
        return None if self.brightness is None else ground_for(self.brightness, strokes=self.channels == 1)


def survey_of(pictures: Pictures, sampled: Sequence[int], name: str) -> Survey:
    """Read the headers of pictures; decodes transparent ones, and those in colour modes until one is not grey.

    Args:
        pictures: of the image set.
        sampled: the indices of those to look at.
        name: of the image set, for an error message.

    Raises:
        DataError: none of them could be read.
    """
    unreadable: list[int] = []
    sizes: list[tuple[int, int]] = []
    broken: list[str] = []
    deep: list[DeepRange] = []
    brightness: list[float | None] = []
    colour = False
    for index in sampled:
        try:
            header = pictures.header(index)
            if header.deep:
                found = pictures.deep_range(index)
                deep += [] if found is None else [found]
            elif header.transparent or (not colour and header.mode not in GREY_MODES):
                decoded = pictures.decoded(index)
                colour = colour or not _is_grey(decoded)
                brightness += [visible_brightness(decoded)] if is_transparent(decoded) else []
        except ImageError as error:
            broken.append(str(error))
            unreadable.append(index)
        else:
            sizes.append(header.size)
    if not sizes:
        raise DataError(f"{name}: none of {len(broken)} images could be read; the first is {broken[0]}")
    visible = [each for each in brightness if each is not None]
    heights, widths = zip(*sizes, strict=True)
    return Survey(
        size=Counter(sizes).most_common(1)[0][0],
        smallest=(min(heights), min(widths)),
        largest=(max(heights), max(widths)),
        same_size=len(set(sizes)) == 1,
        channels=3 if colour else 1,
        bytes_on_disk=pictures.bytes_on_disk(),
        looked_at=len(sizes) + len(broken),
        broken=tuple(broken),
        sampled=tuple(sampled),
        unreadable=tuple(unreadable),
        deep=DeepRange.of_all(deep) if deep else None,
        transparent=len(brightness),
        brightness=sum(visible) / len(visible) if visible else None,
    )


def _is_grey(decoded: Decoded) -> bool:
    """Whether the visible pixels of a picture have equal red, green and blue."""
    if decoded.picture.mode in GREY_MODES:
        return True
    red, green, blue = np.asarray(without_alpha(decoded, False).picture).transpose(2, 0, 1)
    return bool((red == green).all() and (green == blue).all())
