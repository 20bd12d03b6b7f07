"""A conditional VAE whose latents are free of the class and whose decoder draws the class it is told."""

from __future__ import annotations

import torch
from torch import Tensor

from .layers import Decoder, Encoder, GaussianPosterior, Size


class ConditionalVAE(GaussianPosterior):
    """Encoder to class-free latents, decoder conditioned on class probabilities: `ConditionalModel`.

    The generator of VCNet (Guyomard et al. 2022, arXiv 2212.10847), ported to images: the condition is the
    vector of K probabilities that the explained classifier gives, and it reaches every layer of the decoder.

    Args:
        channels: colours of an image.
        size: height and width of an image in pixels, or the side of a square one.
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
