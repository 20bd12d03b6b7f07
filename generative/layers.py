"""The convolutional encoder and decoder that the VAE, the conditional VAE and the flow are built from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = int | Sequence[int]
"""Height and width of the images in pixels, or the side of square images."""

COARSEST = 12  # pixels; maximum length of the longer side of the innermost feature maps
CHANNELS_LAST = torch.channels_last  # the fastest memory format for CPU convolutions with few channels
LOG_VARIANCES = (-8.0, 4.0)  # range to which a posterior's log-variance is clamped


class Halvings:
    """How often the networks halve images of a given size, and the resulting size of the feature maps.

    Attributes:
        height, width: size of the images, in pixels.
        count: number of halvings: the smallest, from two, at which no side is longer than `COARSEST`.
        inner: height and width of the innermost feature maps.
    """

    def __init__(self, size: Size) -> None:
        self.height, self.width = (size, size) if isinstance(size, int) else size
        self.count = 2
        while max(self.height, self.width) > COARSEST * 2**self.count:
            self.count += 1
        step = 2**self.count
        self.inner = (-(-self.height // step), -(-self.width // step))

    @property
    def area(self) -> int:
        """Number of pixels of the innermost feature maps."""
        return self.inner[0] * self.inner[1]

    def fill(self, images: Tensor) -> Tensor:
        """Pads images (N, C, H, W) by repeating their last row and column until both sides can be halved evenly."""
        step = 2**self.count
        right, below = self.inner[1] * step - images.shape[3], self.inner[0] * step - images.shape[2]
        return F.pad(images, (0, right, 0, below), mode="replicate") if right or below else images

    def cut(self, images: Tensor) -> Tensor:
        """Removes the padding that `fill` added."""
        return images[..., : self.height, : self.width]


def norm(maps: int, wanted: bool) -> list[nn.Module]:
    """A group norm (Wu and He 2018, arXiv 1803.08494) of `maps` feature maps if `wanted`, else nothing."""
    return [nn.GroupNorm(8, maps)] if wanted else []


class Encoder(nn.Module):
    """images (N, C, H, W) -> (N, outputs), with strided convolutions and one hidden layer.

    With `normed`, all convolutions but the first are followed by a group norm. Training on colour images then takes
    a fraction of the steps.
    """

    def __init__(self, channels: int, size: Size, outputs: int, width: int = 32, normed: bool = False) -> None:
        super().__init__()
        self.halvings = Halvings(size)
        layers: list[nn.Module] = []
        inputs = channels
        for place in range(self.halvings.count):
            maps = width * 2 ** min(place, 2)
            convolution = nn.Conv2d(inputs, maps, 4, stride=2, padding=1)
            layers += [convolution, *norm(maps, normed and place > 0), nn.LeakyReLU(0.2)]
            inputs = maps
        self.layers = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(inputs * self.halvings.area, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, outputs),
        )
        self.to(memory_format=CHANNELS_LAST)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(self.halvings.fill(images) * 2 - 1)


class GaussianPosterior(nn.Module):
    """Base class of both VAEs. `encoder` returns the mean and log-variance of a Gaussian over latents."""

    encoder: Encoder

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (N, C, H, W) -> mean and log-variance of the approximate posterior, each (N, D)."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCES)

    def encode(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> posterior means (N, D)."""
        return self.posterior(images)[0]


class Decoder(nn.Module):
    """inputs (N, D) -> image logits (N, C, H, W). A condition (N, K) is appended to the inputs, and FiLM applies it.

    It scales and shifts the output of every layer but the first and the last.

    FiLM: Perez et al. 2018, arXiv 1709.07871. With `conditions=0` the decoder is unconditional. `normed` is as in
    `Encoder`.
    """

    def __init__(
        self, channels: int, size: Size, inputs: int, conditions: int = 0, width: int = 24, normed: bool = False
    ) -> None:
        super().__init__()
        self.halvings = Halvings(size)
        self.shape = (2 * width, *self.halvings.inner)
        maps = [2 * width] * self.halvings.count + [width]
        widths = (256, *maps)
        self.expand = nn.Linear(inputs + conditions, 256)
        self.spread = nn.Linear(256, 2 * width * self.halvings.area)
        self.low = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.rises = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1) for before, after in pairwise(maps)
        )
        self.norms = nn.ModuleList(nn.Sequential(*norm(after, normed)) for after in maps)
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
        x = act(self.norms[0](self.low(x)), 1)
        for place, rise in enumerate(self.rises, start=2):
            x = act(self.norms[place - 1](rise(x)), place)
        return self.halvings.cut(self.paint(x))
