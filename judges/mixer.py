"""A convolutional mixer: the referee, which differs in kind from both judges and from the explained classifier."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Mixing(nn.Module):
    """Mixes places within each channel, then channels at each place."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.places = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.places_norm = nn.BatchNorm2d(width)
        self.channels = nn.Conv2d(width, width, 1)
        self.channels_norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.places_norm(F.gelu(self.places(x)))
        return self.channels_norm(F.gelu(self.channels(x)))


class ConvMixer(nn.Module):
    """Patches, then layers that all keep the same resolution: large depthwise convolutions and 1 x 1 convolutions.

    Trockman and Kolter 2022, arXiv 2201.09792: depthwise convolutions mix places, pointwise ones channels, and neither
    does both. Judges and explained classifier consist of full convolutions or of attention.

    Args:
        channels: number of input channels.
        classes: number of classes.
        width: channels of every layer.
        depth: number of layers.
        kernel: side of a depthwise convolution, in patches.
        patch: side of a patch, in pixels; larger for larger images, which are padded to whole patches.
    """

    def __init__(
        self, channels: int = 1, classes: int = 10, width: int = 64, depth: int = 6, kernel: int = 5, patch: int = 2
    ) -> None:
        super().__init__()
        self.patch = patch
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.patches_norm = nn.BatchNorm2d(width)
        self.layers = nn.Sequential(*(_Mixing(width, kernel) for _ in range(depth)))
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) in [0, 1] -> logits (N, K)."""
        height, width = images.shape[2:]
        images = F.pad(images, (0, -width % self.patch, 0, -height % self.patch), mode="replicate")
        patches = self.patches(images - 0.5).contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        x = self.patches_norm(F.gelu(patches))
        return self.head(self.layers(x).mean(dim=(2, 3)))
