"""Latents of real images by class, and the distances between them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FAR = 1e4  # coordinates of the padding for classes with fewer anchors, so far away that it is never the nearest


class LatentAnchors(nn.Module):
    """Latents of real training images by class. Classes with fewer anchors are padded with points very far away.

    Args:
        classes: number of classes K.
        count: largest number of anchors per class, A.
        latents: dimension of the latent space, D.
    """

    latents: Tensor

    def __init__(self, classes: int, count: int, latents: int) -> None:
        super().__init__()
        self.register_buffer("latents", torch.full((classes, count, latents), FAR))

    def distances(self, latents: Tensor, targets: Tensor) -> Tensor:
        """Euclidean distances from latents (N, D) to all anchors of the classes targets (N,): (N, A)."""
        # One matrix product with the anchors of all classes is cheaper than gathering the anchors of each row's class.
        everything = torch.cdist(latents, self.latents.flatten(0, 1)).view(len(latents), *self.latents.shape[:2])
        return everything[torch.arange(len(latents), device=latents.device), targets]

    def nearest(self, latents: Tensor, targets: Tensor, count: int) -> Tensor:
        """The `count` anchors of the classes targets (N,) nearest to latents (N, D), nearest first.

        (N, min(count, A), D); a class with fewer anchors repeats its nearest.
        """
        near = self.distances(latents, targets).topk(min(count, self.latents.shape[1]), largest=False)
        places = torch.where(near.values < FAR / 2, near.indices, near.indices[:, :1])
        return self.latents[targets[:, None], places]

    def first(self, count: int) -> Tensor:
        """The first `count` anchors of every class, or all of one that has fewer, (M, D)."""
        some = self.latents[:, :count].flatten(0, 1)
        return some[some[:, 0] < FAR / 2]

    def reach(self, share: float) -> Tensor:
        """For each class (K,), the distance within which a `share` of its anchors have another anchor."""
        reach = torch.full((len(self.latents),), torch.inf, device=self.latents.device)
        for label, latents in enumerate(self.latents):
            real = latents[latents[:, 0] < FAR / 2]
            if len(real) > 1:
                distances = torch.cdist(real, real).fill_diagonal_(torch.inf)
                reach[label] = distances.amin(dim=1).quantile(share)
        return reach
