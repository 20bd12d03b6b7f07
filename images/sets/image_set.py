"""A labelled image set: surveying its pictures, and loading them in a classifier's shape."""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError, ImageError, UsageError, unknown_name
from ...memory import available
from ...progress import Task
from ..decoding import Decoded
from ..reading import without_alpha
from ..resizing import RESIZES
from ..scale import DeepRange, Scale
from .labelled import Labelled
from .pictures import Pictures, Shape
from .split import Split, split_by_class, split_by_group
from .unreadable import Missing, first_of, too_many

# The rest of the free memory is for the models that will use the images.
SHARE_OF_MEMORY = 0.6

GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
CHUNK = 32  # images a thread reads at a time


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


@dataclass(frozen=True)
class Loaded:
    """Images read into memory.

    Attributes:
        data: M labelled images.
        indices: (M,) int64, their indices in the image set.
        broken: one sentence for each requested image that could not be read; not for the `missing` files of the set.
        unreadable: the indices of the `broken` images.
    """

    data: Labelled
    indices: Tensor
    broken: tuple[str, ...]
    unreadable: tuple[int, ...] = ()


@dataclass(frozen=True)
class ImageSet:
    """Labelled images that have been found but not yet read.

    Attributes:
        name: as in messages to the user.
        classes: K names, in the order of the classifier's logits.
        labels: (N,) int64, indices into `classes`.
        splits: N times "train", "test" or "" (the set does not say).
        pictures: N pictures.
        notes: what was left out in finding them, one sentence each.
        groups: N names of groups, such as persons, that must not be divided by a split; None if there are none.
        missing: the files that do not exist, of a table; None if there are none.
        skip_unreadable: whether any number of images that cannot be read is left out, instead of a few.
    """

    name: str
    classes: tuple[str, ...]
    labels: Tensor
    splits: tuple[str, ...]
    pictures: Pictures
    notes: tuple[str, ...] = ()
    groups: tuple[str, ...] | None = None
    missing: Missing | None = None
    skip_unreadable: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def split(self) -> Split[Tensor]:
        """The indices of the five subsets for training and testing, with every group in one of them.

        Raises:
            DataError: no class has enough images, or images of enough groups.
        """
        if self.groups is None:
            return split_by_class(self.labels, self.splits, classes=len(self.classes))
        return split_by_group(self.labels, self.splits, self.groups, classes=len(self.classes))

    def grouped_by(self, pattern: str) -> ImageSet:
        """The same set with groups from the images' paths: what the pattern matches, or its first bracketed part.

        Raises:
            UsageError: it is no regular expression.
            DataError: it matches nothing in some path, or the images have no files of their own.
        """
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise UsageError(f"--group {pattern!r}: not a regular expression ({error})") from error
        groups: list[str] = []
        for index in range(len(self)):
            path = self.pictures.path(index)
            if path is None:
                raise DataError(f"--group: the images of {self.name} have no files; give a CSV with a column group")
            found = compiled.search(path.as_posix())
            if found is None:
                raise DataError(f"--group {pattern!r}: matches nothing in {path}; every image needs a group")
            groups.append(found[1] if compiled.groups and found[1] is not None else found[0])
        return replace(self, groups=tuple(groups))

    def existing(self, indices: Tensor) -> Tensor:
        """Those of the indices (M,) whose files are not known to be missing, in order."""
        if self.missing is None:
            return indices
        return indices[~torch.isin(indices, torch.tensor([*self.missing.lines]))]

    def counts(self) -> Tensor:
        """The number of images of each class, (K,) int64."""
        return torch.bincount(self.labels, minlength=len(self.classes))

    def survey(self, count: int = 200, seed: int = 0) -> Survey:
        """Read the headers of a random sample of `count` images; decodes those in colour modes until one is not grey.

        Raises:
            DataError: no image of the sample could be read.
        """
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        sampled: list[int] = self.existing(order)[:count].tolist() or order[:count].tolist()
        unreadable: list[int] = []
        sizes: list[tuple[int, int]] = []
        broken: list[str] = []
        deep: list[DeepRange] = []
        colour = False
        for index in sampled:
            try:
                header = self.pictures.header(index)
                if header.deep:
                    found = self.pictures.deep_range(index)
                    deep += [] if found is None else [found]
                elif not colour and header.mode not in GREY_MODES:
                    colour = not _is_grey(self.pictures.decoded(index))
            except ImageError as error:
                broken.append(str(error))
                unreadable.append(index)
            else:
                sizes.append(header.size)
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
            sampled=tuple(sampled),
            unreadable=tuple(unreadable),
            deep=DeepRange.of_all(deep) if deep else None,
        )

    def load(
        self,
        indices: Tensor,
        shape: Shape,
        *,
        resize: str = "pad",
        scale: Scale | None = None,
        task: Task | None = None,
    ) -> Loaded:
        """Read images in a classifier's shape; broken ones are left out and listed.

        Args:
            indices: (M,) int64, the images to read.
            shape: (C, H, W) with C = 1 or 3.
            resize: how images of other proportions are resized, one of `resizing.RESIZES`.
            scale: what black and white are in images with more than 8 bits per channel.
            task: advanced by the number of images that have been read.

        Raises:
            DataError: the images do not fit in memory; all are broken or, unless `skip_unreadable` is set, more than
                one and more than 1 % of those that exist.
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
        broken: dict[int, str] = {}
        with closing(self._read_all(indices.tolist(), shape, resize, scale)) as reading:
            for done, (index, found) in enumerate(reading, start=1):
                if isinstance(found, str):
                    broken[index] = found
                else:
                    images[len(kept)] = torch.from_numpy(found)
                    kept.append(index)
                if task is not None and (done % CHUNK == 0 or done == len(indices)):
                    task.advance((done - 1) % CHUNK + 1)
        if broken and not kept:
            raise DataError(self.refusal([*broken.values()], len(indices)))
        known = {} if self.missing is None else self.missing.lines  # they have their own rule and sentence
        broken = {index: why for index, why in broken.items() if index not in known}
        if not self.skip_unreadable and too_many(len(broken), len(kept) + len(broken)):
            raise DataError(self.refusal([*broken.values()], len(kept) + len(broken)))
        at = torch.tensor(kept, dtype=torch.int64)
        return Loaded(
            Labelled(images[: len(kept)], self.labels[at]), at, tuple(broken.values()), unreadable=tuple(broken)
        )

    def refusal(self, broken: Sequence[str], count: int) -> str:
        """Why an image set is refused of which some of `count` images could not be read, for a reason each."""
        skips = "; cfx init --skip-unreadable leaves out any number of them" if len(broken) < count else ""
        return f"{self.name}: {len(broken)} of {count} images could not be read: {first_of(broken)}{skips}"

    def _check_memory(self, count: int, shape: Shape) -> None:
        needed, free = bytes_needed(count, shape), available(torch.device("cpu"))
        if free is not None and needed > SHARE_OF_MEMORY * free:
            raise DataError(
                f"{self.name}: {count} images of {'x'.join(map(str, shape))} need {needed / 2**30:.1f} GiB of memory, "
                f"more than {SHARE_OF_MEMORY:.0%} of the {free / 2**30:.1f} GiB that are free; "
                "take fewer images or a smaller size"
            )

    def _read_all(
        self, indices: list[int], shape: Shape, resize: str, scale: Scale | None
    ) -> Generator[tuple[int, np.ndarray | str], None, None]:
        """Each index in order, with its pixels or with a sentence that says why it could not be read."""

        def read(some: list[int]) -> list[np.ndarray | str]:
            return [self._read(index, shape, resize, scale) for index in some]

        threads = min(8, os.cpu_count() or 1)  # Pillow releases the GIL while it decodes
        pool = ThreadPoolExecutor(threads)
        waiting: deque[tuple[list[int], Future[list[np.ndarray | str]]]] = deque()
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

    def _read(self, index: int, shape: Shape, resize: str, scale: Scale | None) -> np.ndarray | str:
        try:
            return self.pictures.read(index, shape, resize, scale)
        except ImageError as error:
            return str(error)


def bytes_needed(count: int, shape: Shape) -> int:
    """Memory of `count` images of (C, H, W) as uint8."""
    return count * shape[0] * shape[1] * shape[2]


def _is_grey(decoded: Decoded) -> bool:
    """Whether the visible pixels of a picture have equal red, green and blue."""
    if decoded.picture.mode in GREY_MODES:
        return True
    red, green, blue = np.asarray(without_alpha(decoded, False).picture).transpose(2, 0, 1)
    return bool((red == green).all() and (green == blue).all())
