"""The discriminator used in training, and its loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..generative.layers import CHANNELS_LAST, Halvings, Size


class Discriminator(nn.Module):
    """Distinguishes real images from drawn ones; with `classes`, it also scores whether an image matches its class.

    Spectral normalisation: Miyato et al. 2018, arXiv 1802.05957. Projection discriminator: Miyato and
    Koyama 2018, arXiv 1802.05637. Only training uses it; it is never shipped.
    """

    def __init__(self, channels: int, size: Size, classes: int = 0, width: int = 32) -> None:
        super().__init__()
        self.halvings = Halvings(size)
        layers: list[nn.Module] = []
        inputs = channels
        for place in range(self.halvings.count):
            maps = width * 2 ** min(place, 1)
            layers += [spectral_norm(nn.Conv2d(inputs, maps, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
            inputs = maps
        height, width_left = ((side + 1) // 2 for side in self.halvings.inner)
        self.layers = nn.Sequential(
            *layers,
            spectral_norm(nn.Conv2d(inputs, 4 * width, 3, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            spectral_norm(nn.Linear(4 * width * height * width_left, 128)),
            nn.LeakyReLU(0.2),
        )
        self.realness = spectral_norm(nn.Linear(128, 1))
        self.classes = spectral_norm(nn.Linear(128, classes)) if classes else None
        self.to(memory_format=CHANNELS_LAST)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """images (N, C, H, W), labels (N,) -> scores (N,), higher is more real."""
        features = self.layers(self.halvings.fill(images) * 2 - 1)
        score = self.realness(features).squeeze(1)
        if self.classes is not None and labels is not None:
            score = score + self.classes(features).gather(1, labels[:, None]).squeeze(1)
        return score


def hinge_loss(real: Tensor, drawn: Tensor) -> Tensor:
    """The discriminator's hinge loss (Lim and Ye 2017, arXiv 1705.02894)."""
    return F.relu(1 - real).mean() + F.relu(1 + drawn).mean()
