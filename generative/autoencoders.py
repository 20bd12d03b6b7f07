"""One small autoencoder a class and one for all classes: the yardsticks of IM1 and IM2."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.datasets import Labelled
from ..data.fitting import Fit, descend, one_cycle, set_learning_rate
from .layers import Halvings, Size


class Autoencoder(nn.Module):
    """A convolutional autoencoder with a narrow waist.

    Args:
        channels: colours of an image.
        size: height and width of an image in pixels, or the side of a square one.
        waist: numbers that an image is squeezed through.
    """

    def __init__(self, channels: int = 1, size: Size = 28, waist: int = 12) -> None:
        super().__init__()
        self.halvings = Halvings(size)
        maps = [channels, 12, *[24] * (self.halvings.count - 1)]
        falls: list[nn.Module] = []
        rises: list[nn.Module] = []
        for outer, inner in pairwise(maps):
            falls += [nn.Conv2d(outer, inner, 4, stride=2, padding=1), nn.SiLU()]
            rises = [nn.ConvTranspose2d(inner, outer, 4, stride=2, padding=1), nn.SiLU(), *rises]
        squeezed = 24 * self.halvings.area
        self.encoder = nn.Sequential(*falls, nn.Flatten(), nn.Linear(squeezed, waist))
        self.decoder = nn.Sequential(
            nn.Linear(waist, squeezed),
            nn.SiLU(),
            nn.Unflatten(1, (24, *self.halvings.inner)),
            *rises[:-1],
            nn.Sigmoid(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> their reconstructions, in [0, 1]."""
        return self.halvings.cut(self.decoder(self.encoder(self.halvings.fill(images))))


class ClassAutoencoders(nn.Module):
    """K autoencoders, each fitted to one class, and one fitted to all. Judges only: no engine may use them.

    Args:
        classes: number of classes K.
        channels, size, waist: as in `Autoencoder`.
    """

    def __init__(self, classes: int = 10, channels: int = 1, size: Size = 28, waist: int = 12) -> None:
        super().__init__()
        self.of_class = nn.ModuleList(Autoencoder(channels, size, waist) for _ in range(classes))
        self.of_all = Autoencoder(channels, size, 2 * waist)

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        """Each image (N, C, H, W) by the autoencoder of its label (N,)."""
        result = torch.empty_like(images)
        for label in labels.unique().tolist():
            chosen = labels == label
            result[chosen] = self.of_class[label](images[chosen])
        return result


class AutoencoderFit(Fit):
    """Mean squared error with Adam."""

    def __init__(
        self,
        model: Autoencoder,
        data: Labelled,
        *,
        epochs: float = 30,
        batch_size: int = 64,
        learning_rate: float = 4e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(data, batch_size, epochs, seed)
        self.model = model
        self.learning_rate = learning_rate
        self.modules = {"model": model}
        self.optimizer = torch.optim.Adam(model.parameters())
        self.optimizers = {"model": self.optimizer}

    def step(self, index: int) -> dict[str, Tensor]:
        set_learning_rate(self.optimizer, self.learning_rate * one_cycle(index, self.total_steps))
        images, _ = self.batch(index)
        loss = F.mse_loss(self.model(images), images)
        descend(self.optimizer, loss)
        return {"loss": loss.detach()}

    def check(self, data: Labelled) -> Tensor:
        """Mean squared error a pixel."""
        images = data.floats()
        return F.mse_loss(self.model(images), images)
