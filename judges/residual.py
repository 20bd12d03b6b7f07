"""A residual network that scores counterfactuals, and whose features measure realism."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.first_norm(self.first(x)))
        return F.gelu(self.shortcut(x) + self.second_norm(self.second(y)))


class ResidualNet(nn.Module):
    """A residual classifier with global average pooling: the first judge. It differs from `ConvNet` in every layer.

    Args:
        channels: number of input channels.
        classes: number of classes.
        width: channels after the stem; the features have four times as many dimensions.
        stride: stride of the stem, in pixels; 4 reduces the cost for images of over 64 pixels.
    """

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 24, stride: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 5, stride=stride, padding=2)
        self.blocks = nn.Sequential(
            _Residual(width, width, 1), _Residual(width, 2 * width, 2), _Residual(2 * width, 4 * width, 2)
        )
        self.head = nn.Linear(4 * width, classes)

    def embed(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) in [0, 1] -> features (N, F), the layer before the logits."""
        return self.blocks(F.gelu(self.stem(images - 0.5))).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) in [0, 1] -> logits (N, K)."""
        return self.head(self.embed(images))
