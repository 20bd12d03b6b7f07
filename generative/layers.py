"""The convolutional halves that the VAE, the conditional VAE and the discriminators are built from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

CHANNELS_LAST = torch.channels_last  # the order in which CPU convolutions of few channels are fastest
LOG_VARIANCES = (-8.0, 4.0)  # within which a posterior's log-variance is kept


class Encoder(nn.Module):
    """images (N, C, S, S) -> (N, outputs), by two strided convolutions and one hidden layer."""

    def __init__(self, channels: int, size: int, outputs: int, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(2 * width * (size // 4) ** 2, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, outputs),
        )
        self.to(memory_format=CHANNELS_LAST)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images * 2 - 1)


class GaussianPosterior(nn.Module):
    """What both VAEs have in common: `encoder` gives mean and log-variance of a Gaussian over latents."""

    encoder: Encoder

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (N, C, H, W) -> mean and log-variance of the approximate posterior, each (N, D)."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCES)

    def encode(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> posterior means (N, D)."""
        return self.posterior(images)[0]


class Decoder(nn.Module):
    """inputs (N, D) -> image logits (N, C, S, S); a condition (N, K) scales and shifts every layer (FiLM).

    FiLM: Perez et al. 2018, arXiv 1709.07871. With `conditions=0` it is a plain decoder.
    """

    def __init__(self, channels: int, size: int, inputs: int, conditions: int = 0, width: int = 24) -> None:
        super().__init__()
        self.shape = (2 * width, size // 4, size // 4)
        widths = (256, 2 * width, 2 * width, width)
        self.expand = nn.Linear(inputs + conditions, 256)
        self.spread = nn.Linear(256, 2 * width * (size // 4) ** 2)
        self.low = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.middle = nn.ConvTranspose2d(2 * width, 2 * width, 4, stride=2, padding=1)
        self.high = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1)
        self.paint = nn.Conv2d(width, channels, 3, padding=1)
        self.film = nn.ModuleList(nn.Linear(conditions, 2 * w) for w in widths) if conditions else None
        self.to(memory_format=CHANNELS_LAST)

    def forward(self, inputs: Tensor, condition: Tensor | None = None) -> Tensor:
        def act(x: Tensor, place: int) -> Tensor:
            if self.film is not None and condition is not None:
                spread = [1] * (x.dim() - 2)
                scale, shift = self.film[place](condition).view(len(x), -1, *spread).chunk(2, dim=1)
                x = torch.addcmul(shift, x, 1 + scale)
            return F.leaky_relu(x, 0.2)

        x = inputs if condition is None else torch.cat([inputs, condition], dim=1)
        x = act(self.expand(x), 0)
        x = F.leaky_relu(self.spread(x), 0.2).view(-1, *self.shape)
        x = act(self.low(x), 1)
        x = act(self.middle(x), 2)
        x = act(self.high(x), 3)
        return self.paint(x)


class Discriminator(nn.Module):
    """Tells real images from drawn ones; with `classes` it also asks whether the class is right.

    Spectral normalisation: Miyato et al. 2018, arXiv 1802.05957. Projection discriminator: Miyato and
    Koyama 2018, arXiv 1802.05637. Only training uses it; it is never shipped.
    """

    def __init__(self, channels: int, size: int, classes: int = 0, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(channels, width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            spectral_norm(nn.Linear(4 * width * ((size // 4 + 1) // 2) ** 2, 128)),
            nn.LeakyReLU(0.2),
        )
        self.realness = spectral_norm(nn.Linear(128, 1))
        self.classes = spectral_norm(nn.Linear(128, classes)) if classes else None
        self.to(memory_format=CHANNELS_LAST)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """images (N, C, H, W), labels (N,) -> scores (N,), higher is more real."""
        features = self.layers(images * 2 - 1)
        score = self.realness(features).squeeze(1)
        if self.classes is not None and labels is not None:
            score = score + self.classes(features).gather(1, labels[:, None]).squeeze(1)
        return score


def hinge_loss(real: Tensor, drawn: Tensor) -> Tensor:
    """The discriminator's hinge loss (Lim and Ye 2017, arXiv 1705.02894)."""
    return F.relu(1 - real).mean() + F.relu(1 + drawn).mean()


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)), in nats per image, (N,)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
