"""The labelled images that a bundle names, and their split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DataError
from ..images.sets.image_set import ImageSet
from ..images.sets.labelled import Labelled
from ..images.sets.opening import open_images
from ..images.sets.split import Split, sample_by_class
from .bundle import Bundle
from .file import ImagesEntry

MOST_IMAGES = 50_000  # in each subset; a fit of a few thousand steps uses each image about eight times
MOST_CLASSES = 60  # with more, classes without images are combined


def own_images(entry: ImagesEntry) -> ImageSet:
    """Open the images that `bundle.toml` names. If there are very many classes, only those with images are kept.

    Raises:
        DataError: too many of the files that a table lists do not exist.
        DataError, UsageError: as `open_images`.
    """
    root = None if entry.root is None else Path(entry.root)
    images = open_images(entry.source, root=root, classes=entry.classes)
    if images.missing is not None:
        images.missing.check(skip=entry.skip_unreadable)
    images = replace(images, skip_unreadable=entry.skip_unreadable, ground=entry.ground)
    if entry.group is not None:
        images = images.grouped_by(entry.group)
    used = images.counts().nonzero().flatten()
    if len(used) == len(images.classes) or len(images.classes) <= MOST_CLASSES:
        return images
    place = torch.full((len(images.classes),), -1)
    place[used] = torch.arange(len(used))
    return replace(images, classes=tuple(images.classes[label] for label in used.tolist()), labels=place[images.labels])


def images_of(bundle: Bundle) -> tuple[ImageSet, Split[Tensor]] | None:
    """The images that a bundle names and their split; None if it names none.

    Subsets with more than `MOST_IMAGES` images are reduced to about that many, always the same ones.

    Raises:
        DataError: they have changed since `cfx init`, so that labels and split would differ.
        DataError, UsageError: as `open_images`.
    """
    entry = bundle.file.images
    if entry is None:
        return None
    images = own_images(entry)
    count, names = entry.count, list(images.classes)
    if len(images) != count or names != bundle.labels[: len(names)]:
        raise DataError(
            f"{images.name}: has changed since cfx init ({count} images then, {len(images)} of {len(names)} classes "
            "now); training and test images would no longer be separate: create a new bundle with cfx init"
        )
    split = images.split()
    return images, split.map(lambda _, indices: sample_by_class(images.labels, indices, MOST_IMAGES))


def images_for_testing(bundle: Bundle) -> Labelled | None:
    """The test images of the set that a bundle names; None if it names no images.

    Raises:
        DataError, UsageError: as `images_of` and `ImageSet.load`.
    """
    own = images_of(bundle)
    if own is None:
        return None
    images, split = own
    return images.load(split.test, bundle.shape, resize=bundle.resize, scale=bundle.scale).data
