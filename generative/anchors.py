"""Where a VAE keeps real images: latents of each class, and how near to one another they lie."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FAR = 1e4  # each coordinate of what stands where a class has no more anchors: never the nearest


class LatentAnchors(nn.Module):
    """Latents of real training images, by class; a class with fewer is filled up with ones infinitely far away.

    Args:
        classes: number of classes K.
        count: most anchors that a class has, A.
        latents: dimension of the latent space, D.
    """

    latents: Tensor

    def __init__(self, classes: int, count: int, latents: int) -> None:
        super().__init__()
        self.register_buffer("latents", torch.full((classes, count, latents), FAR))

    def distances(self, latents: Tensor, targets: Tensor) -> Tensor:
        """Euclidean distances of latents (N, D) to all anchors of class targets (N,): (N, A)."""
        # To the anchors of every class at once: a product of matrices, cheaper than gathering each row's own.
        everything = torch.cdist(latents, self.latents.flatten(0, 1)).view(len(latents), *self.latents.shape[:2])
        return everything[torch.arange(len(latents), device=latents.device), targets]

    def nearest(self, latents: Tensor, targets: Tensor, count: int) -> Tensor:
        """The `count` anchors of class targets (N,) nearest to latents (N, D), nearest first: (N, count, D)."""
        near = self.distances(latents, targets).topk(min(count, self.latents.shape[1]), largest=False)
        # Where a class has fewer, its nearest stands in for the rest.
        places = torch.where(near.values < FAR / 2, near.indices, near.indices[:, :1])
        return self.latents[targets[:, None], places]

    def reach(self, share: float) -> Tensor:
        """For each class (K,), the distance within which `share` of its anchors have another one."""
        reach = torch.full((len(self.latents),), torch.inf, device=self.latents.device)
        for label, latents in enumerate(self.latents):
            real = latents[latents[:, 0] < FAR / 2]
            if len(real) > 1:
                apart = torch.cdist(real, real).fill_diagonal_(torch.inf)
                reach[label] = apart.amin(dim=1).quantile(share)
        return reach
