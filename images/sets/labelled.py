"""Labelled images in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..reading import LEAST_CONTRAST
from ..resizing import border_mask


@dataclass(frozen=True)
class Labelled:
    """Images and their classes.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Tensor | slice) -> Labelled:
        return Labelled(self.images[index], self.labels[index])

    def to(self, device: torch.device) -> Labelled:
        """The same images and labels on a device."""
        return Labelled(self.images.to(device), self.labels.to(device))

    def of_class(self, label: int) -> Labelled:
        """The images of one class."""
        return self[self.labels == label]

    def batches(self, size: int) -> Iterator[Labelled]:
        """Consecutive batches of at most `size` images."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def floats(self, index: Tensor | slice = slice(None)) -> Tensor:
        """An image batch: (N, C, H, W) float32 in [0, 1]."""
        return self.images[index].float() / 255


def in_batches(function: Callable[..., Tensor], *batches: Tensor, size: int = 250) -> Tensor:
    """Applies a function to `size` images at a time, to limit memory, and concatenates the results."""
    return torch.cat([function(*chunk) for chunk in zip(*(batch.split(size) for batch in batches), strict=True)])


DARK = 64  # of 255
SHARE_DARK = 0.9


def looks_light_on_dark(data: Labelled) -> bool:
    """Whether the images show light strokes on a dark ground, as in MNIST; always false for colour images."""
    if data.images.shape[1] != 1 or not len(data):
        return False
    sample = data.images[torch.linspace(0, len(data) - 1, min(500, len(data))).long(), 0]
    ground = sample[:, torch.from_numpy(border_mask(*sample.shape[1:]))].median(dim=1).values.int()
    lightest = sample.flatten(1).amax(dim=1).int()
    return bool(((ground < DARK) & (lightest > ground + LEAST_CONTRAST)).float().mean() >= SHARE_DARK)
