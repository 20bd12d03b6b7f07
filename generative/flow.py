"""A normalizing flow over images: an exact bijection with a density, built from the couplings of normflows."""

from __future__ import annotations

import math

import normflows as nf
import torch
from torch import Tensor, nn

from .layers import LOG_VARIANCES, Decoder, Encoder, Halvings, Size

LEVELS = 256  # grey levels of an 8-bit image


class _Inference(nn.Module):
    """An encoder as the network of an affine coupling; interleaves shifts and log-scales, as normflows expects."""

    def __init__(self, encoder: Encoder, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.shape = shape

    def forward(self, pixels: Tensor) -> Tensor:
        mean, log_variance = self.encoder(pixels.view(-1, *self.shape)).chunk(2, dim=1)
        return torch.stack([mean, 0.5 * log_variance.clamp(*LOG_VARIANCES)], dim=2).flatten(1)


class _Drawing(nn.Module):
    """A decoder as the network of an additive coupling."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(latents)).flatten(1)


class ImageFlow(nn.Module):
    """An augmented normalizing flow with a class-conditional base.

    Augmented flows (Huang, Dinh and Courville 2020, arXiv 2002.07101) are bijections on the image x together with
    an auxiliary noise variable e. Three exactly invertible maps lead to the base:

    1. z = m(x) + s(x) e         an affine coupling; its network is an encoder
    2. r = (x - D(z)) / sigma    an additive coupling and a scale per pixel; its network is a decoder
    3. u = T^-1(z)               a neural spline flow (Durkan et al. 2019, arXiv 1906.04032)

    The base variable is (u, r): u has a Gaussian for each class, r is standard normal. An image is encoded with
    e = 0, the mean of the noise. Decoding reconstructs it exactly, because r holds the details that D cannot generate.

    Colour images use the same flow. A multi-scale Glow (Kingma and Dhariwal 2018, arXiv 1807.03039) learns a better
    density in the same time, but a search cannot move in its base space: a hundredth of a standard deviation away from
    an image of coloured letters it decoded to NaN (exploding inverses: Behrmann et al. 2021, arXiv 2006.09347).

    Args:
        channels: number of image channels.
        size: height and width of the images in pixels, or the side of square images.
        classes: number of classes K of the base.
        latents: dimension of z.
        couplings: number of spline couplings in T.
        hidden: units of the hidden layers in the spline couplings.
        normed: whether convolutions are followed by group norms, as in the VAE whose weights it starts from.
    """

    def __init__(
        self,
        channels: int = 1,
        size: Size = 28,
        classes: int = 10,
        latents: int = 32,
        couplings: int = 6,
        hidden: int = 128,
        normed: bool = False,
    ) -> None:
        super().__init__()
        sides = Halvings(size)
        self.shape = (channels, sides.height, sides.width)
        self.classes = classes
        self.latents = latents
        pixels = math.prod(self.shape)
        inference = _Inference(Encoder(channels, size, 2 * latents, normed=normed), self.shape)
        self.infer = nf.flows.AffineCoupling(inference, scale_map="exp")
        self.draw = nf.flows.AffineCoupling(_Drawing(Decoder(channels, size, latents, normed=normed)), scale=False)
        self.residual = nf.flows.AffineConstFlow((pixels,), shift=False)
        layers: list[nn.Module] = []
        for _ in range(couplings):
            spline = nf.flows.CoupledRationalQuadraticSpline(latents, 2, hidden, num_bins=8, tail_bound=4.0)
            layers += [spline, nf.flows.LULinearPermute(latents)]
        self.splines = nn.ModuleList(layers)
        self.base = nf.distributions.ClassCondDiagGaussian(latents, classes)

    def to_base(self, continuous: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (N, P) and noise e (N, D) -> base variables (N, D + P), log-determinant (N,)."""
        (pixels, z), inferred = self.infer([continuous, noise])
        (_, rest), _ = self.draw.inverse([z, pixels])
        rest, scaled = self.residual.inverse(rest)
        log_determinant = inferred + scaled
        for layer in reversed(self.splines):
            z, change = layer.inverse(z)  # pyright: ignore[reportCallIssue]
            log_determinant = log_determinant + change
        return torch.cat([z, rest], dim=1), log_determinant

    def from_base(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Base variables (N, D + P) -> pixels (N, P), noise e (N, D): the inverse of `to_base`."""
        z, rest = self._decode_to_pixels(latents)
        (pixels, noise), _ = self.infer.inverse([rest, z])
        return pixels, noise

    def _decode_to_pixels(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        z, rest = latents[:, : self.latents], latents[:, self.latents :]
        for layer in self.splines:
            z, _ = layer(z)
        rest, _ = self.residual(rest)
        (z, pixels), _ = self.draw([z, rest])
        return z, pixels

    def encode(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> base variables (N, D + C*H*W)."""
        pixels = (images.flatten(1) * (LEVELS - 1) + 0.5) / LEVELS
        return self.to_base(pixels, torch.zeros(len(images), self.latents, device=images.device))[0]

    def decode(self, latents: Tensor) -> Tensor:
        """base variables (N, D + C*H*W) -> images (N, C, H, W), not clamped to [0, 1]."""
        pixels = self._decode_to_pixels(latents)[1]
        return ((pixels * LEVELS - 0.5) / (LEVELS - 1)).view(-1, *self.shape)

    def base_log_prob(self, latents: Tensor) -> Tensor:
        """base variables (N, D + P) -> log-density under each class, in nats (N, K)."""
        u, rest = latents[:, : self.latents], latents[:, self.latents :]
        mean, log_scale = self.base.loc.T, self.base.log_scale.T  # (K, D)
        distance = ((u[:, None] - mean) * (-log_scale).exp()).square().sum(dim=2)
        shape = -0.5 * distance - log_scale.sum(dim=1)
        detail = -0.5 * rest.square().sum(dim=1, keepdim=True)
        return shape + detail - 0.5 * latents.shape[1] * math.log(2 * math.pi)

    def class_log_prob(self, continuous: Tensor, noise: Tensor) -> Tensor:
        """log p(x, e | class) - log q(e) for pixels (N, P) and noise e (N, D) sampled from q = N(0, I); (N, K), nats.

        Its mean over the noise is a lower bound on log p(x | class) (Huang et al. 2020, eq. 4).
        """
        latents, log_determinant = self.to_base(continuous, noise)
        noise_log_prob = -0.5 * (noise.square() + math.log(2 * math.pi)).sum(dim=1)
        return self.base_log_prob(latents) + (log_determinant - noise_log_prob)[:, None]

    def log_prob(self, images: Tensor, seed: int = 0) -> Tensor:
        """images (N, C, H, W) -> estimated lower bound on log p(x) of the dequantised images, in nats (N,).

        Uses one sample of the noise and of the dequantisation, both from `seed`, and a uniform prior over classes.
        """
        generator = torch.Generator().manual_seed(seed)
        dequantisation = torch.rand(images.shape, generator=generator, device="cpu").to(images.device)
        noise = torch.randn(len(images), self.latents, generator=generator, device="cpu").to(images.device)
        pixels = (images * (LEVELS - 1) + dequantisation).flatten(1) / LEVELS
        return self.class_log_prob(pixels, noise).logsumexp(dim=1) - math.log(self.classes)
