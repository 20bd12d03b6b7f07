"""The reference classifier (explained) and the residual network that judges its counterfactuals."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ConvNet(nn.Module):
    """A small convolutional classifier: image batch -> logits.

    Four 3x3 convolutions with batch norm, two poolings, one hidden layer. Normalisation of the input lives
    inside: images come in [0, 1] and are moved to mean 0.1307, deviation 0.3081 (MNIST's own).

    Args:
        channels: colours of the input.
        size: side of the square input, in pixels.
        classes: number of classes.
        width: channels of the first convolution.
    """

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10, width: int = 16) -> None:
        super().__init__()

        def block(inputs: int, outputs: int) -> list[nn.Module]:
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

        self.features = nn.Sequential(
            *block(channels, width),
            nn.MaxPool2d(2),
            *block(width, 2 * width),
            nn.MaxPool2d(2),
            *block(2 * width, 4 * width),
            *block(4 * width, 4 * width),
            nn.Flatten(),
            nn.Linear(4 * width * (size // 4) ** 2, 8 * width),
            nn.ReLU(),
            nn.Dropout(0.4),
        )
        self.head = nn.Linear(8 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) in [0, 1] -> logits (N, K)."""
        return self.head(self.features((images - 0.1307) / 0.3081))


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
    """A residual classifier with global average pooling: the judge, unlike `ConvNet` in every layer.

    Args:
        channels: colours of the input.
        classes: number of classes.
        width: channels after the stem; the features have four times as many.
    """

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 5, stride=2, padding=2)
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
