"""Random changes to training images that leave their class as it is."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def random_affine(
    images: Tensor, degrees: float = 12.0, scale: float = 0.1, shear: float = 0.15, shift: float = 0.07
) -> Tensor:
    """Rotate, scale, shear and shift each image of a batch by its own random amount.

    Args:
        images: (N, C, H, W) in [0, 1].
        degrees: largest rotation, in degrees.
        scale: largest relative change of size.
        shear: largest horizontal shear.
        shift: largest shift, as a share of half the image's side.
    """

    def uniform(limit: float) -> Tensor:
        return (torch.rand(len(images), device=images.device) * 2 - 1) * limit

    angle = uniform(math.radians(degrees))
    size = 1 + uniform(scale)
    cos, sin, slant = angle.cos() / size, angle.sin() / size, uniform(shear)
    matrix = torch.stack(
        [
            torch.stack([cos, -sin + slant * cos, uniform(shift)], dim=1),
            torch.stack([sin, cos + slant * sin, uniform(shift)], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
