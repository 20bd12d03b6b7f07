"""Random deformations of training images that preserve their class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Limits of a random deformation. Called with a batch (N, C, H, W) in [0, 1], it deforms each image differently.

    Attributes:
        degrees: largest rotation, in degrees.
        scale: largest relative change of size.
        shear: largest horizontal shear.
        shift: largest shift, as a share of half the image's side.
        flip: also mirror half of the images; only if left and right do not matter to the class.
        ground: padding beyond the edge, "zeros" or "border" (the colour of the edge).
    """

    degrees: float = 12.0
    scale: float = 0.1
    shear: float = 0.15
    shift: float = 0.07
    flip: bool = False
    ground: str = "zeros"

    def __call__(self, images: Tensor) -> Tensor:
        def uniform(limit: float) -> Tensor:
            return (torch.rand(len(images), device=images.device) * 2 - 1) * limit

        angle = uniform(math.radians(self.degrees))
        size = 1 + uniform(self.scale)
        cos, sin, slant = angle.cos() / size, angle.sin() / size, uniform(self.shear)
        matrix = torch.stack(
            [
                torch.stack([cos, -sin + slant * cos, uniform(self.shift)], dim=1),
                torch.stack([sin, cos + slant * sin, uniform(self.shift)], dim=1),
            ],
            dim=1,
        )
        if self.flip:
            mirrored = torch.rand(len(images), device=images.device) < 0.5
            matrix = torch.where(mirrored[:, None, None], matrix * matrix.new_tensor([[-1.0], [1.0]]), matrix)
        grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, align_corners=False, padding_mode=self.ground)


UNDEFORMED = Augmentation(degrees=0.0, scale=0.0, shear=0.0, shift=0.0)
