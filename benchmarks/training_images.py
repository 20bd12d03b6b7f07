"""Training images of the explained classifier's data, for metrics that compare counterfactuals with them."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from torch import Tensor

from ..bundles.bundle import Bundle
from ..bundles.own_images import images_of
from ..errors import DataError, UsageError
from ..images.sets.labelled import Labelled
from ..metrics.scene import Missing
from ..training.recipe import RECIPES, shipped_images


class OfBundle:
    """The training images of a bundle, which are read when they are first needed.

    Of a shipped bundle these are all of its data set, also those that only judges were trained on.

    Args:
        bundle: one that names its images, or a shipped one.
        data: directory of torchvision's data sets; None if it is not known.
    """

    def __init__(self, bundle: Bundle, data: Path | None) -> None:
        self.bundle = bundle
        self.data = data

    def of_class(self, label: int) -> Tensor:
        """The images of the class with this label, (M, C, H, W) uint8.

        Raises:
            Missing: there are none.
        """
        return self._images.of_class(label).images

    @property
    def digest(self) -> str:
        """The sha256 of all images, or "none"."""
        try:
            return hashlib.sha256(self._images.images.contiguous().numpy().data).hexdigest()
        except Missing:
            return "none"

    @cached_property
    def _images(self) -> Labelled:
        bundle = self.bundle
        try:
            own = None if bundle.is_standalone else images_of(bundle)
            if own is not None:
                images, split = own
                return images.load(split.train, bundle.shape, resize=bundle.resize, scale=bundle.scale).data
            if bundle.name not in RECIPES:
                raise Missing(f"cfx does not know the images that bundle {bundle.name} was made from")
            if self.data is None:
                raise Missing("it needs the classifier's training images; give the directory of its data set (--data)")
            return shipped_images(bundle, self.data, "train")
        except (DataError, UsageError) as error:
            raise Missing(f"the classifier's training images cannot be read: {error}") from error
