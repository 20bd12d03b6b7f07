"""The pool of real images that controls choose their answers from."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ..answers.bisecting import bisected
from ..answers.seen import probabilities_of
from ..bundles.bundle import Bundle
from ..counterfactuals.problem import ModelError
from ..errors import ImageError, UsageError
from ..runs.inputs import Inputs

LARGEST = 2**30  # bytes of a pool, a byte a value; 1.3 million images of 28x28, 7,000 of 224x224 in colour
BATCH = 256  # images
AT_ONCE = 512  # images of the pool that are compared as floats


@dataclass(frozen=True)
class RealPool:
    """Real images, and what the explained classifier sees in them.

    Attributes:
        images: (N, C, H, W) uint8.
        probabilities: (N, K), the classifier's; zeros for an image on which it fails.
    """

    images: Tensor
    probabilities: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def floats(self, index: Tensor) -> Tensor:
        """Some of the images, (M, C, H, W) in [0, 1]."""
        return self.images[index].float() / 255

    def seen_as(self, target: int, confidence: float = 0.0) -> Tensor:
        """Indices (M,) of the images in which the classifier sees a class, with at least this confidence."""
        given, seen = self.probabilities.max(dim=1)
        return ((seen == target) & (given > 0) & (given >= confidence)).nonzero().squeeze(1)

    def others(self, image: Tensor, target: int) -> Tensor:
        """Indices (M,) of the images in which it sees a class, without those equal to `image` (C, H, W)."""
        of_class = self.seen_as(target)
        return of_class[(self.images[of_class] != as_bytes(image)).flatten(1).any(dim=1)]

    def distances(self, images: Tensor, index: Tensor) -> Tensor:
        """The L1 distances (N, M) of images (N, C, H, W) in [0, 1] from some of the pool; 0 only between equal ones."""
        from_ones = as_bytes(images).flatten(1).float()
        parts = [torch.cdist(from_ones, self.images[some].flatten(1).float(), p=1) for some in index.split(AT_ONCE)]
        return torch.cat(parts, dim=1) / 255


def as_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8."""
    return (images * 255).round().to(torch.uint8)


def pool_size(bundle: Bundle, inputs: Inputs) -> int:
    """The number of images in the pool, if all of them can be read: all inputs, or as many as `LARGEST` bytes hold."""
    return min(len(inputs), max(1, LARGEST // prod(bundle.shape)))


def read_pool(bundle: Bundle, inputs: Inputs, seed: int) -> RealPool:
    """Read the pool: all inputs in random order, or a random sample if they are too many to hold.

    Raises:
        UsageError: none of the images can be read.
    """
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed + 1))
    images: list[Tensor] = []
    probabilities: list[Tensor] = []
    for indices in order[: pool_size(bundle, inputs)].split(BATCH):
        read = []
        for index in indices.tolist():
            try:
                read.append(as_bytes(inputs.read(index)))
            except ImageError:  # was reported when the questions were sampled
                continue
        if read:
            images.append(torch.stack(read).to(bundle.device))
            probabilities.append(_probabilities(bundle, images[-1].float() / 255))
    if not images:
        raise UsageError("the controls need real images, and none of the images can be read")
    return RealPool(torch.cat(images), torch.cat(probabilities))


def _probabilities(bundle: Bundle, images: Tensor) -> Tensor:
    """The classifier's probabilities (N, K); zeros for images on which it fails, which no control must answer with."""
    done = list(bisected(range(len(images)), lambda rows: probabilities_of(bundle.classifier, images[list(rows)])))
    none = torch.zeros(1, len(bundle.classes), device=images.device)
    return torch.cat([none if isinstance(found, ModelError) else found for _, found in done])
