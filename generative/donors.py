"""Real images of each class, from which counterfactuals can be put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn


class OfClass(NamedTuple):
    """The donors of one class.

    Attributes:
        images: (M, C, H, W) in [0, 1].
        names: M names, of their files if they have any.
        missing: what is wrong if there are none, for the user.
    """

    images: Tensor
    names: Sequence[str]
    missing: str


class DonorSource(Protocol):
    """Where donors come from."""

    def of_label(self, label: int) -> OfClass:
        """Real images of the class with this label, perhaps none; the classifier need not take them for it."""
        ...


class Donors(nn.Module):
    """Real training images of each class.

    Args:
        count: number of images N.
        channels, size: C and (H, W) of the images.
        length: bytes of all names.
    """

    images: Tensor
    labels: Tensor
    name_bytes: Tensor

    def __init__(self, count: int, channels: int, size: Sequence[int], length: int) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros((count, channels, *size), dtype=torch.uint8))
        self.register_buffer("labels", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("name_bytes", torch.zeros(length, dtype=torch.uint8))

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, names: Sequence[str]) -> Donors:
        """The donors of images (N, C, H, W) uint8 with their labels (N,) and names."""
        content = "\n".join(names).encode()
        donors = cls(len(images), images.shape[1], tuple(images.shape[2:]), len(content))
        donors.images.copy_(images)
        donors.labels.copy_(labels)
        donors.name_bytes.copy_(torch.tensor(list(content), dtype=torch.uint8))
        return donors

    def of_label(self, label: int) -> OfClass:
        """The donors of a class; as in `DonorSource`."""
        chosen = (self.labels == label).nonzero().flatten()
        names = bytes(self.name_bytes.tolist()).decode().split("\n")
        missing = "there are no training images of the target class that the classifier takes for it"
        return OfClass(self.images[chosen].float() / 255, [names[index] for index in chosen.tolist()], missing)
