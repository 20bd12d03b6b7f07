"""Finds near-copies of training images among the test images, which make every accuracy too high."""

from __future__ import annotations

import torch

from ..errors import DataError
from ..images.scale import Scale
from ..images.sets.image_set import ImageSet
from ..images.sets.split import Split

LOOKED_AT = 300  # images of each side, at random
SIDE = 16  # pixels, at which near-copies are compared
NEAR = 3.0  # mean absolute difference in 8-bit levels; different photographs of one hand differ by 7 and more
FLAT = 8.0  # standard deviation, in 8-bit levels, below which images are too plain to compare
MIN_SHARE_OF_TEST_IMAGES = 0.02  # share of the test images; fewer are chance


def near_copies(images: ImageSet, split: Split[torch.Tensor], scale: Scale | None) -> list[str]:
    """A note if test images have near-copies among the training images; none if there are groups or hardly any copies.

    Args:
        images: the images, in files of their own; others are published data sets.
        split: their split.
        scale: what black and white are in images with more than 8 bits per channel.
    """
    if images.groups is not None or images.pictures.path(0) is None:
        return []
    generator = torch.Generator().manual_seed(0)

    def some(indices: torch.Tensor) -> torch.Tensor:
        return indices[torch.randperm(len(indices), generator=generator)[:LOOKED_AT]]

    try:
        test, train = (
            images.load(some(indices), (1, SIDE, SIDE), resize="stretch", scale=scale)
            for indices in (split.test, torch.cat([split.train, split.judge_train]))
        )
    except DataError:  # too many are broken, which is said elsewhere
        return []
    ours, theirs = (loaded.data.images.flatten(1).float() for loaded in (test, train))
    distances = torch.cdist(ours, theirs, p=1) / SIDE**2
    distances[ours.std(dim=1) < FLAT] = torch.inf
    nearest = distances.min(dim=1)
    copies = (nearest.values <= NEAR).nonzero().flatten()
    if len(copies) < max(1, MIN_SHARE_OF_TEST_IMAGES * len(ours)):
        return []
    first = int(copies[0])
    one = images.pictures.path(int(test.indices[first]))
    other = images.pictures.path(int(train.indices[nearest.indices[first]]))
    return [
        "near-copies on both sides of the split, which make every accuracy too high: "
        f"{len(copies)} of {len(ours)} test images looked at have one among {len(theirs)} training images, such as "
        f"{one} and {other}; keep together what belongs together, with --group or a CSV column group"
    ]
