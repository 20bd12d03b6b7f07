"""The autoencoders behind the metrics IM1 and IM2: a small one per class and one for all classes."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ..generative.layers import Halvings, Size


class Autoencoder(nn.Module):
    """A convolutional autoencoder with a narrow bottleneck.

    Args:
        channels: number of image channels.
        size: height and width of the images in pixels, or the side of square images.
        waist: dimension of the bottleneck.
    """

    def __init__(self, channels: int = 1, size: Size = 28, waist: int = 12) -> None:
        super().__init__()
        self.halvings = Halvings(size)
        maps = [channels, 12, *[24] * (self.halvings.count - 1)]
        falls: list[nn.Module] = []
        rises: list[nn.Module] = []
        for outer, inner in pairwise(maps):
            falls += [nn.Conv2d(outer, inner, 4, stride=2, padding=1), nn.SiLU()]
            rises = [nn.ConvTranspose2d(inner, outer, 4, stride=2, padding=1), nn.SiLU(), *rises]
        squeezed = 24 * self.halvings.area
        self.encoder = nn.Sequential(*falls, nn.Flatten(), nn.Linear(squeezed, waist))
        self.decoder = nn.Sequential(
            nn.Linear(waist, squeezed),
            nn.SiLU(),
            nn.Unflatten(1, (24, *self.halvings.inner)),
            *rises[:-1],
            nn.Sigmoid(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> their reconstructions, in [0, 1]."""
        return self.halvings.cut(self.decoder(self.encoder(self.halvings.fill(images))))


class ClassAutoencoders(nn.Module):
    """K autoencoders trained on one class each, and one trained on all classes. No engine may use them.

    Args:
        classes: number of classes K.
        channels, size, waist: as in `Autoencoder`.
    """

    def __init__(self, classes: int = 10, channels: int = 1, size: Size = 28, waist: int = 12) -> None:
        super().__init__()
        self.of_class = nn.ModuleList(Autoencoder(channels, size, waist) for _ in range(classes))
        self.of_all = Autoencoder(channels, size, 2 * waist)

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        """Reconstructs each image (N, C, H, W) with the autoencoder of its label (N,)."""
        result = torch.empty_like(images)
        for label in labels.unique().tolist():
            chosen = labels == label
            result[chosen] = self.of_class[label](images[chosen])
        return result
