"""The labelled images that a bundle names, and how they are cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DataError
from ..images.sets.image_set import ImageSet
from ..images.sets.labelled import Labelled
from ..images.sets.opening import open_images
from ..images.sets.split import Split, sample_by_class, split_by_class
from .bundle import Bundle
from .file import ImagesEntry

MOST_IMAGES = 50_000  # in each part; a training of some thousand steps sees each some eight times
MOST_CLASSES = 60  # beyond which classes without images are put together


def own_images(entry: ImagesEntry) -> ImageSet:
    """The images that `bundle.toml` names; of very many classes only those that have some.

    Raises:
        DataError, UsageError: as `open_images`.
    """
    root = None if entry.root is None else Path(entry.root)
    images = open_images(entry.source, root=root, classes=entry.classes)
    used = images.counts().nonzero().flatten()
    if len(used) == len(images.classes) or len(images.classes) <= MOST_CLASSES:
        return images
    place = torch.full((len(images.classes),), -1)
    place[used] = torch.arange(len(used))
    return replace(images, classes=tuple(images.classes[label] for label in used.tolist()), labels=place[images.labels])


def images_of(bundle: Bundle) -> tuple[ImageSet, Split[Tensor]] | None:
    """The images that a bundle names and how they are split; None where it names none.

    Of parts with more than `MOST_IMAGES` there are as many, a fixed sample.

    Raises:
        DataError: they are not those that `cfx init` saw: labels and parts would not be the same.
        DataError, UsageError: as `open_images`.
    """
    entry = bundle.file.images
    if entry is None:
        return None
    images = own_images(entry)
    count, names = entry.count, list(images.classes)
    if len(images) != count or names != bundle.classes[: len(names)]:
        raise DataError(
            f"{images.name}: has changed since cfx init ({count} images then, {len(images)} of {len(names)} classes "
            "now); what was trained and what is tested would no longer be apart: begin a new bundle with cfx init"
        )
    split = split_by_class(images.labels, images.splits, classes=len(images.classes))
    return images, split.map(lambda _, indices: sample_by_class(images.labels, indices, MOST_IMAGES))


def images_for_testing(bundle: Bundle) -> Labelled | None:
    """The images of the user's own set that no part of a bundle was trained on; None where it names no images.

    Raises:
        DataError, UsageError: as `images_of` and `ImageSet.load`.
    """
    own = images_of(bundle)
    if own is None:
        return None
    images, split = own
    return images.load(split.test, bundle.shape, resize=bundle.resize).data
