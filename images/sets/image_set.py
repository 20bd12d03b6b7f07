"""A labelled image set: surveying its pictures, and loading them in a classifier's shape."""

from __future__ import annotations

import os
import re
from collections import deque
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
from ..reading import Ground
from ..resizing import RESIZES
from ..scale import Scale
from .labelled import Labelled
from .pictures import Pictures, Shape
from .split import Split, split_by_class, split_by_group
from .survey import Survey, survey_of
from .unreadable import Missing, first_of, too_many

# The rest of the free memory is for the models that will use the images.
SHARE_OF_MEMORY = 0.6

CHUNK = 32  # images a thread reads at a time


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
        ground: what transparent images are laid on; None decides it for each by itself.
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
    ground: Ground | None = None

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
        """Look at a random sample of `count` images that exist, as `survey_of`.

        Raises:
            DataError: no image of the sample could be read.
        """
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        sampled: list[int] = self.existing(order)[:count].tolist() or order[:count].tolist()
        return survey_of(self.pictures, sampled, self.name)

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
            return self.pictures.read(index, shape, resize, scale, self.ground)
        except ImageError as error:
            return str(error)


def bytes_needed(count: int, shape: Shape) -> int:
    """Memory of `count` images of (C, H, W) as uint8."""
    return count * shape[0] * shape[1] * shape[2]
