"""A conditional VAE with class-free latents, whose decoder generates an image of the class in its condition."""

from __future__ import annotations

import torch
from torch import Tensor

from .layers import Decoder, Encoder, GaussianPosterior, Size


class ConditionalVAE(GaussianPosterior):
    """Encoder to class-free latents and decoder conditioned on class probabilities; a `ConditionalModel`.

    Its condition is that of the generator of VCNet (Guyomard et al. 2022, arXiv 2212.10847): the vector of K
    probabilities that the classifier returns; see `Decoder` for where it enters. Its encoder is its own.

    Args:
        channels: number of image channels.
        size: height and width of the images in pixels, or the side of square images.
        classes: number of classes K.
        latents: dimension of the latent space.
        normed: whether convolutions are followed by group norms.
    """

    def __init__(
        self, channels: int = 1, size: Size = 28, classes: int = 10, latents: int = 32, normed: bool = False
    ) -> None:
        super().__init__()
        self.classes = classes
        self.latents = latents
        self.encoder = Encoder(channels, size, 2 * latents, normed=normed)
        self.decoder = Decoder(channels, size, latents, conditions=classes, normed=normed)

    def decode(self, latents: Tensor, condition: Tensor) -> Tensor:
        """latents (N, D), class probabilities (N, K) -> images (N, C, H, W) in [0, 1]."""
        return torch.sigmoid(self.decoder(latents, condition))
