"""The reference classifier (explained) and the residual network that judges its counterfactuals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNet(nn.Module):
    """A small convolutional classifier: image batch -> logits.

    Four 3x3 convolutions with batch norm, two poolings (more on images of over 40 pixels), one hidden layer.
    Normalisation of the input lives inside: images come in [0, 1].

    Args:
        channels: colours of the input.
        size: height and width of the input in pixels, or the side of a square one.
        classes: number of classes.
        width: channels of the first convolution.
        hidden: units of the hidden layer; 8 * width if None.
        mean, std: of the training images' pixels; the defaults are MNIST's.
    """

    def __init__(
        self,
        channels: int = 1,
        size: int | Sequence[int] = 28,
        classes: int = 10,
        width: int = 16,
        hidden: int | None = None,
        mean: float = 0.1307,
        std: float = 0.3081,
    ) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        hidden = hidden or 8 * width
        sides = (size, size) if isinstance(size, int) else tuple(size)
        poolings = next(count for count in range(2, 9) if max(sides) < 41 * 2 ** (count - 2))
        left = [-(-side // 2**poolings) for side in sides]

        def block(inputs: int, outputs: int) -> list[nn.Module]:
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

        deeper = [
            layer
            for _ in range(poolings - 2)
            for layer in (nn.MaxPool2d(2, ceil_mode=True), *block(4 * width, 4 * width))
        ]
        self.features = nn.Sequential(
            *block(channels, width),
            nn.MaxPool2d(2, ceil_mode=True),
            *block(width, 2 * width),
            nn.MaxPool2d(2, ceil_mode=True),
            *block(2 * width, 4 * width),
            *block(4 * width, 4 * width),
            *deeper,
            nn.Flatten(),
            nn.Linear(4 * width * left[0] * left[1], hidden),
            nn.ReLU(),
            nn.Dropout(0.4),
        )
        self.head = nn.Linear(hidden, classes)
        self.to(memory_format=torch.channels_last)  # on a CPU half as fast again

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) in [0, 1] -> logits (N, K)."""
        return self.head(self.features((images - self.mean) / self.std))


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
        stride: of the stem, in pixels; 4 for images of over 64 pixels keeps the cost down.
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
