"""A variational autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor

from .layers import Decoder, Encoder, GaussianPosterior, Size


class VAE(GaussianPosterior):
    """Variational autoencoder (Kingma and Welling 2014, arXiv 1312.6114); a `GenerativeModel`.

    Args:
        channels: number of image channels.
        size: height and width of the images in pixels, or the side of square images.
        latents: dimension of the latent space.
        normed: whether convolutions are followed by group norms.
    """

    def __init__(self, channels: int = 1, size: Size = 28, latents: int = 32, normed: bool = False) -> None:
        super().__init__()
        self.encoder = Encoder(channels, size, 2 * latents, normed=normed)
        self.decoder = Decoder(channels, size, latents, normed=normed)

    def decode(self, latents: Tensor) -> Tensor:
        """latents (N, D) -> images (N, C, H, W) in [0, 1]."""
        return torch.sigmoid(self.decoder(latents))
