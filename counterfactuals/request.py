"""What is asked of an engine: images, targets, and what else holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import UsageError
from .goal import Requirement


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """A search for the counterfactuals of N images.

    Attributes:
        images: (N, C, H, W) in [0, 1], the factuals.
        targets: (N,) int64, the classes asked for; an engine that answers with any class takes the likeliest.
        region: (N, 1, H, W) bool, the pixels that may change; outside, the results are the images. None: all.
        earlier: (N, A, C, H, W), answers already found; the search avoids them. None in the first search.
        typical: extra condition: also typical of the target class. None: no condition.
        path: also return nine frames from the factual to the counterfactual.
        seed: seed of the random numbers that the engine samples.
        watch: called with the number of the classifier's evaluations so far, as they are made.
    """

    images: Tensor
    targets: Tensor
    region: Tensor | None = None
    earlier: Tensor | None = None
    typical: Requirement | None = None
    path: bool = False
    seed: int = 0
    watch: Callable[[int], None] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def only(self, rows: Tensor | Sequence[int]) -> SearchRequest:
        """The same for the images `rows` (M,), which may repeat."""
        index = rows if isinstance(rows, Tensor) else list(rows)
        return replace(
            self,
            images=self.images[index],
            targets=self.targets[index],
            region=None if self.region is None else self.region[index],
            earlier=None if self.earlier is None else self.earlier[index],
        )

    def counting_from(self, calls: int) -> SearchRequest:
        """The same where so many evaluations have been made before."""
        watch = self.watch
        return self if watch is None else replace(self, watch=lambda more: watch(calls + more))

    def check(self) -> None:
        """Raise a UsageError unless all tensors have the shapes and types that stand above, and images the range."""
        images, targets, region = self.images, self.targets, self.region
        if images.dim() != 4 or images.dtype != torch.float32:
            raise UsageError(f"images must be (N, C, H, W) float32, got {tuple(images.shape)} {images.dtype}")
        if len(images) and not (float(images.min()) >= 0 and float(images.max()) <= 1):
            raise UsageError(f"images must lie in [0, 1], got [{float(images.min()):g}, {float(images.max()):g}]")
        if targets.shape != (len(images),) or targets.dtype != torch.int64:
            raise UsageError(f"targets must be ({len(images)},) int64, got {tuple(targets.shape)} {targets.dtype}")
        if region is not None and (region.shape != images[:, :1].shape or region.dtype != torch.bool):
            wanted = tuple(images[:, :1].shape)
            raise UsageError(f"region must be {wanted} bool, got {tuple(region.shape)} {region.dtype}")
