"""A residual classifier for training with bounded layers, whose features keep distances between images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.01  # of the leaky rectifiers below zero


class _Block(nn.Module):
    """x -> shortcut(x) + g(x). The shortcut has no weights: it averages pixels, and fills new channels with zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.more = stride, outputs - inputs
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.first_norm(self.first(x)), SLOPE)
        y = self.second_norm(self.second(y))
        if self.stride > 1:
            x = F.avg_pool2d(x, self.stride, ceil_mode=True)
        return F.leaky_relu(F.pad(x, (0, 0, 0, 0, 0, self.more)) + y, SLOPE)


class SpectralNet(nn.Module):
    """A residual network with average pooling in its shortcuts and a linear layer at its end: image batch -> logits.

    Trained with bounded convolutions, the density of its features in front of the last layer tells how typical an
    image is of a class. The network normalises its input itself, so images are passed in [0, 1].

    Source: Mukhoti et al. 2023, Deep Deterministic Uncertainty, arXiv 2102.11582, section 4 and its code.

    Args:
        channels: number of input channels.
        classes: number of classes.
        width: channels after the stem; the features have four times as many dimensions.
        mean, std: mean and standard deviation of the training images' pixels; the defaults are MNIST's.
    """

    def __init__(
        self, channels: int = 1, classes: int = 10, width: int = 32, mean: float = 0.1307, std: float = 0.3081
    ) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(
            _Block(width, width, 2), _Block(width, 2 * width, 2), _Block(2 * width, 4 * width, 2)
        )
        self.head = nn.Linear(4 * width, classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) in [0, 1] -> logits (N, K)."""
        x = F.leaky_relu(self.stem_norm(self.stem((images - self.mean) / self.std)), SLOPE)
        return self.head(self.blocks(x).mean(dim=(2, 3)))
