"""Substitutability: whether counterfactuals can stand in for real images when a classifier is trained.

Kenny and Keane 2021, On Generating Plausible Counterfactual and Semi-Factual Explanations for Deep Learning (PIECE),
AAAI, arXiv 2009.06399, where it is called "R%-Sub".
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .pixels import as_floats, squared_distances
from .scene import Missing, SetScene

AT_ONCE = 2**22  # distances that are held in memory at a time
VALUES = 2**24  # values of counterfactuals that are read at a time, 64 MiB
# Two images are equal if their squared distance is at most this share of the sum of their squared norms: more than the
# rounding of single precision, and far less than what tells two photographs of one thing apart.
EQUAL = 1e-5


def substitutability_of(counterfactuals: Tensor, targets: Tensor, reals: Tensor, labels: Tensor) -> float:
    """Accuracy on real images of a 1-nearest-neighbour classifier that was trained on counterfactuals, in [0, 1].

    Higher is better. Distances are Euclidean, over all pixels and colours. A counterfactual that equals a real image is
    no neighbour of this image, so that nothing is won by answering with the real images themselves.

    Args:
        counterfactuals: (N, C, H, W) in [0, 1], N at least 1.
        targets: (N,) int64, their classes.
        reals: (M, C, H, W) in [0, 1], M at least 1, none of them the factual of a counterfactual.
        labels: (M,) int64, their classes.
    """
    return float((nearest_labels([(counterfactuals, targets)], reals) == labels).float().mean())


def nearest_labels(blocks: Iterable[tuple[Tensor, Tensor]], reals: Tensor) -> Tensor:
    """The label of the nearest other image for each real one, (M,) int64; -1 if there is no other image.

    Args:
        blocks: images (B, C, H, W) in [0, 1] and their labels (B,), a part of all at a time.
        reals: (M, C, H, W) in [0, 1], or the same values as uint8.
    """
    found = torch.full((len(reals),), -1, dtype=torch.int64)
    least = torch.full((len(reals),), torch.inf)
    for images, labels in blocks:
        for rows in torch.arange(len(reals)).split(max(1, AT_ONCE // len(images))):
            distances, nearest = other_distances(as_floats(reals[rows]), images).min(dim=1)
            nearer = distances < least[rows]
            least[rows[nearer]] = distances[nearer]
            found[rows[nearer]] = labels[nearest[nearer]]
    return found


def other_distances(first: Tensor, second: Tensor) -> Tensor:
    """Squared Euclidean distances (N, M) of images (N, C, H, W) and (M, C, H, W); infinite between equal ones."""
    distances, norms = squared_distances(first, second)
    return distances.masked_fill_(distances <= EQUAL * norms, torch.inf)


def substitutability(scene: SetScene) -> float:
    """Computes `substitutability_of` of all counterfactuals, with the real images that asked no question.

    Raises:
        Missing: there are no such images, or a class of theirs has no counterfactual.
    """
    if scene.reals is None:
        raise Missing("there are no images with labels to test on")
    reals, apart = scene.reals()
    rows = apart.nonzero().squeeze(1)
    without = len(set(reals.labels.tolist()) - set(scene.targets[rows].tolist()))
    if without:
        classes = len(reals.labels.unique())
        raise Missing(f"there is no valid counterfactual to train on of {without} of the {classes} classes")
    blocks = (
        (scene.images(some.tolist()).cpu(), scene.targets[some])
        for some in rows.split(max(1, VALUES // reals.images[0].numel()))
    )
    return float((nearest_labels(blocks, reals.images) == reals.labels).float().mean())
