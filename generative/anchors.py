"""Where a VAE keeps real images: latents of each class, their Gaussian, their nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LatentAnchors(nn.Module):
    """Latents of real training images, by class.

    Args:
        classes: number of classes K.
        count: anchors a class, A.
        latents: dimension of the latent space, D.
        shrinkage: share of the pooled covariance in each class's covariance.
    """

    latents: Tensor

    def __init__(self, classes: int, count: int, latents: int, shrinkage: float = 0.2) -> None:
        super().__init__()
        self.shrinkage = shrinkage
        self.register_buffer("latents", torch.zeros(classes, count, latents))
        self._gaussians: tuple[Tensor, Tensor] | None = None

    def nearest(self, latents: Tensor, targets: Tensor, count: int) -> Tensor:
        """The `count` anchors of class targets (N,) nearest to latents (N, D), nearest first: (N, count, D)."""
        of_class = self.latents[targets]
        places = torch.cdist(latents[:, None], of_class).squeeze(1).topk(count, largest=False).indices
        return of_class.gather(1, places[..., None].expand(-1, -1, latents.shape[1]))

    def gaussians(self) -> tuple[Tensor, Tensor]:
        """Mean (K, D) and precision (K, D, D) of each class's latents."""
        if self._gaussians is None or self._gaussians[0].device != self.latents.device:
            mean = self.latents.mean(dim=1)
            centred = self.latents - mean[:, None]
            covariance = centred.mT @ centred / self.latents.shape[1]
            covariance = torch.lerp(covariance, covariance.mean(dim=0, keepdim=True), self.shrinkage)
            self._gaussians = mean, torch.linalg.inv(covariance)
        return self._gaussians

    def distance(self, latents: Tensor, targets: Tensor) -> Tensor:
        """Half the squared Mahalanobis distance of latents (N, D) to the Gaussian of their target (N,), in nats."""
        mean, precision = self.gaussians()
        difference = latents - mean[targets]
        return 0.5 * torch.einsum("nd,nde,ne->n", difference, precision[targets], difference)
