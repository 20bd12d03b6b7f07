"""Donors from labelled images on the disk, for a classifier without a bundle."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import few
from ..generative.donors import OfClass
from ..images.scale import Scale
from ..images.sets.image_set import ImageSet
from .class_matching import Matched
from .sizes import Sizes

MAX_IMAGES_OF_CLASS = 200  # images of a class that are read


class FolderDonors(nn.Module):
    """The images of a labelled set. A class is read when it is asked for.

    Args:
        images: the set.
        matched: which of the classifier's classes its classes are.
        sizes: the shape in which images are read.
        scale: what black and white are in images with more than 8 bits per channel.
    """

    def __init__(
        self,
        images: ImageSet,
        matched: Matched,
        sizes: Sizes,
        scale: Scale | None,
    ) -> None:
        super().__init__()
        self._images = images
        self._matched = matched
        self._sizes = sizes
        self._scale = scale

    def of_label(self, label: int) -> OfClass:
        """The donors of one of the classifier's classes; as in `DonorSource`.

        Raises:
            DataError: too many of the images cannot be read.
        """
        images, shape = self._images, self._sizes.shape
        name = self._matched.classes[label]
        own = self._own_label(label)
        chosen = torch.zeros(0, dtype=torch.int64) if own is None else (images.labels == own).nonzero().flatten()
        if not len(chosen):
            there = few([images.classes[place] for place in images.counts().nonzero().flatten().tolist()], 12)
            return OfClass(torch.zeros(0, *shape), [], f"{images.name} has no images of {name!r}; it has {there}")
        order = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))][:MAX_IMAGES_OF_CLASS]
        loaded = images.load(order, shape, resize=self._sizes.resize, scale=self._scale)
        paths = [images.pictures.path(int(index)) for index in loaded.indices]
        names = [path.name if path else f"image {index}" for path, index in zip(paths, loaded.indices, strict=True)]
        return OfClass(loaded.data.floats(), names, f"no image of {name!r} can be read")

    def _own_label(self, label: int) -> int | None:
        """The label of a class in the image set; None if it has none."""
        columns = self._matched.columns
        if columns is None or self._matched.among:
            return label
        return columns.index(label) if label in columns else None
