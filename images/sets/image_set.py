"""What a labelled image set is, wherever its pictures lie: its survey, and loading it in a classifier's shape."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError, ImageError, UsageError, unknown_name
from ...memory import available
from ...progress import Task
from ..decoding import Decoded, quiet
from ..reading import without_alpha
from ..resizing import RESIZES
from .labelled import Labelled
from .pictures import Pictures, Shape

# The rest of what is free is for the models that will work on the images.
SHARE_OF_MEMORY = 0.6

# A photo collection of the web has a few broken files; more of them, and it is the paths or the disk.
SHARE_BROKEN = 0.01

GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
CHUNK = 32  # images a thread reads at a time


@dataclass(frozen=True)
class Survey:
    """What the headers of a sample of an image set say.

    Attributes:
        size: the commonest (H, W), as the images are seen (EXIF rotation undone).
        smallest: least H and least W in the sample.
        largest: greatest H and greatest W in the sample.
        same_size: whether all images of the sample have one size.
        channels: 1 where all of the sample are grey in content, else 3.
        bytes_on_disk: of the whole set.
        looked_at: how many images the sample has.
        broken: one sentence for each image of the sample that could not be.
    """

    size: tuple[int, int]
    smallest: tuple[int, int]
    largest: tuple[int, int]
    same_size: bool
    channels: int
    bytes_on_disk: int
    looked_at: int
    broken: tuple[str, ...]


@dataclass(frozen=True)
class Loaded:
    """Images read into memory.

    Attributes:
        data: M labelled images.
        indices: (M,) int64, where they are in the image set.
        broken: one sentence for each image that was asked for and could not be read.
    """

    data: Labelled
    indices: Tensor
    broken: tuple[str, ...]


@dataclass(frozen=True)
class ImageSet:
    """Labelled images that have been found, and not yet read.

    Attributes:
        name: what the user calls it.
        classes: K names, in the order of the classifier's logits.
        labels: (N,) int64, indices into `classes`.
        splits: N times "train", "test" or "" (the set does not say).
        pictures: N pictures.
    """

    name: str
    classes: tuple[str, ...]
    labels: Tensor
    splits: tuple[str, ...]
    pictures: Pictures

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> Tensor:
        """Images of each class: (K,) int64."""
        return torch.bincount(self.labels, minlength=len(self.classes))

    def survey(self, count: int = 200, seed: int = 0) -> Survey:
        """Look at a random sample of `count` images, and decode none but those whose header leaves grey open.

        Raises:
            DataError: not one of the sample is an image.
        """
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        sizes: list[tuple[int, int]] = []
        broken: list[str] = []
        colour = False
        for index in order[:count].tolist():
            try:
                size, mode = self.pictures.header(index)
                if not colour and mode not in GREY_MODES:
                    colour = not _is_grey(self.pictures.decoded(index))
            except ImageError as error:
                broken.append(str(error))
            else:
                sizes.append(size)
        if not sizes:
            raise DataError(f"{self.name}: none of {len(broken)} images could be read; the first is {broken[0]}")
        heights, widths = zip(*sizes, strict=True)
        return Survey(
            size=Counter(sizes).most_common(1)[0][0],
            smallest=(min(heights), min(widths)),
            largest=(max(heights), max(widths)),
            same_size=len(set(sizes)) == 1,
            channels=3 if colour else 1,
            bytes_on_disk=self.pictures.bytes_on_disk(),
            looked_at=len(sizes) + len(broken),
            broken=tuple(broken),
        )

    def load(self, indices: Tensor, shape: Shape, *, resize: str = "pad", task: Task | None = None) -> Loaded:
        """Read images in a classifier's shape; broken ones are left out and named.

        Args:
            indices: (M,) int64, which images.
            shape: (C, H, W), C being 1 or 3.
            resize: what becomes of images of other proportions, one of `resizing.RESIZES`.
            task: told of the images that have been read.

        Raises:
            DataError: it does not fit in memory, or more than one image and more than 1 % are broken, or all are.
            UsageError: C is neither 1 nor 3, or `resize` is unknown.
        """
        if shape[0] not in (1, 3):
            raise UsageError(f"shape {shape}: only images of 1 or 3 channels can be read")
        if resize not in RESIZES:
            raise unknown_name("fit", resize, RESIZES)
        self._check_memory(len(indices), shape)
        ready = self.pictures.as_they_are(indices, shape)
        if ready is not None:
            return Loaded(Labelled(ready, self.labels[indices]), indices.clone(), ())
        images = torch.empty((len(indices), *shape), dtype=torch.uint8)
        kept: list[int] = []
        broken: list[str] = []
        with closing(self._read_all(indices.tolist(), shape, resize)) as reading:
            for done, (index, found) in enumerate(reading, start=1):
                if isinstance(found, str):
                    broken.append(found)
                else:
                    images[len(kept)] = torch.from_numpy(found)
                    kept.append(index)
                if task is not None and (done % CHUNK == 0 or done == len(indices)):
                    task.advance((done - 1) % CHUNK + 1)
        if len(broken) > max(1, SHARE_BROKEN * len(indices)) or (broken and not kept):
            first = "; ".join(broken[:3])
            raise DataError(f"{self.name}: {len(broken)} of {len(indices)} images could not be read: {first}")
        at = torch.tensor(kept, dtype=torch.int64)
        return Loaded(Labelled(images[: len(kept)], self.labels[at]), at, tuple(broken))

    def _check_memory(self, count: int, shape: Shape) -> None:
        needed, free = bytes_needed(count, shape), available(torch.device("cpu"))
        if free is not None and needed > SHARE_OF_MEMORY * free:
            raise DataError(
                f"{self.name}: {count} images of {'x'.join(map(str, shape))} need {needed / 2**30:.1f} GiB of memory, "
                f"more than {SHARE_OF_MEMORY:.0%} of the {free / 2**30:.1f} GiB that are free; "
                "take fewer images or a smaller size"
            )

    def _read_all(
        self, indices: list[int], shape: Shape, resize: str
    ) -> Generator[tuple[int, np.ndarray | str], None, None]:
        """Each index in turn with its pixels, or with the sentence on why there are none."""

        def read(some: list[int]) -> list[np.ndarray | str]:
            return [self._read(index, shape, resize) for index in some]

        # Pillow lets other threads run while it decodes. Each decode() sets the process's warning filters and
        # puts them back, in no order here: with the same filters around them all, none of that shows or stays.
        threads = min(8, os.cpu_count() or 1)
        pool = ThreadPoolExecutor(threads)
        waiting: deque[tuple[list[int], Future[list[np.ndarray | str]]]] = deque()
        with quiet():
            try:
                for start in range(0, len(indices), CHUNK):
                    some = indices[start : start + CHUNK]
                    waiting.append((some, pool.submit(read, some)))
                    if len(waiting) > 2 * threads:
                        done, future = waiting.popleft()
                        yield from zip(done, future.result(), strict=True)
                for done, future in waiting:
                    yield from zip(done, future.result(), strict=True)
            finally:
                pool.shutdown(cancel_futures=True)

    def _read(self, index: int, shape: Shape, resize: str) -> np.ndarray | str:
        try:
            return self.pictures.read(index, shape, resize)
        except ImageError as error:
            return str(error)


def bytes_needed(count: int, shape: Shape) -> int:
    """What `count` images of (C, H, W) take in memory as uint8."""
    return count * shape[0] * shape[1] * shape[2]


def _is_grey(decoded: Decoded) -> bool:
    """Whether what can be seen of a picture has equal red, green and blue."""
    if decoded.picture.mode in GREY_MODES:
        return True
    red, green, blue = np.asarray(without_alpha(decoded, False).picture).transpose(2, 0, 1)
    return bool((red == green).all() and (green == blue).all())
