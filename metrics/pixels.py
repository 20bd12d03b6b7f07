"""Euclidean distances between many images."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_distances(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Squared Euclidean distances (N, M) of images (N, C, H, W) and (M, C, H, W), and sums of squared norms (N, M).

    The distances are differences of products, in single precision: those of equal images may differ from 0, in either
    direction, by a millionth of the sum of the squared norms.
    """
    first, second = first.flatten(1), second.flatten(1)
    norms = first.square().sum(dim=1)[:, None] + second.square().sum(dim=1)
    return torch.addmm(norms, first, second.T, alpha=-2), norms


def as_floats(images: Tensor) -> Tensor:
    """Images as float32 in [0, 1], which may be given as uint8."""
    return images if images.is_floating_point() else images.float() / 255
