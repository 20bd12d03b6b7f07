"""How much fine detail images have: their power at each spatial frequency, and their differences between pixels."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

FINEST = 0.25
"""Cycles per pixel: the finest octave lies between this and one cycle in two pixels, the highest frequency."""

# Half octaves from waves of 32 pixels on. The last band lies beyond 1/2, in the corners: fine along both axes.
EDGES = tuple(2 ** (step / 2 - 5) for step in (0, *range(2, 10)))
SECTORS = 3  # along one axis, diagonal, along the other
ROUNDING = 1 / (12 * 255**2)  # the variance of rounding to 8 bits, below which there is nothing to measure
DIFFERENCES = 3  # orders
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
QUARTILES = (0.25, 0.5, 0.75)
VALUES_PER_BATCH = 2**24  # values; limits the memory, and is the most that torch.quantile takes


def fine_power(images: Tensor) -> Tensor:
    """The power in the finest octave of images (N, C, H, W) in [0, 1], summed over channels: (N,)."""
    radius, _ = frequencies(images)
    return power(images)[:, :, radius > FINEST].sum(dim=(1, 2))


def measure_detail(images: Tensor) -> Tensor:
    """The logarithms of measures of the detail in images (N, C, H, W) in [0, 1], from coarse to fine: (N, F).

    They are the mean power in bands of frequencies, which are half octaves divided by direction, and the mean fourth
    powers of first, second and third differences down and across, which tell edges from texture of the same power
    (means of absolute differences do so as well, but take noise on a flat ground for blurred edges). For colour
    images those of the luma are followed by those of the two colour differences together. F depends on C, H and W.
    Powers of natural images are about equal in each octave (Field 1987, JOSA A 4(12)), so that logarithms suit them.
    """
    size = max(1, VALUES_PER_BATCH // images[0].numel()) if len(images) else 1
    return torch.cat([_measure(batch) for batch in images.split(size)])


def measure_noise(images: Tensor) -> Tensor:
    """Measures of the noise in images (N, C, H, W) in [0, 1]: those of their detail, and how quiet they are: (N, F).

    The latter are logarithms of quartiles, over all places and channels, of the squared diagonal detail of every 2 x 2
    pixels. Adversarial noise raises the lower ones, which edges and texture of real images leave alone: the median is
    the measure of noise of Donoho and Johnstone 1994, Biometrika 81(3), section 4.
    """
    size = max(1, VALUES_PER_BATCH // images[0].numel()) if len(images) else 1
    quiet = torch.cat([_quiet(batch) for batch in images.split(size)])
    return torch.cat([measure_detail(images), quiet], dim=1)


def _quiet(images: Tensor) -> Tensor:
    """Logarithms of quartiles of the squared diagonal detail of images (N, C, H, W): (N, 3)."""
    if not len(images):  # of which there are no quantiles
        return images.new_zeros(0, len(QUARTILES))
    diagonal = images.diff(dim=2).diff(dim=3).flatten(1) / 2
    return (diagonal.square().quantile(images.new_tensor(QUARTILES), dim=1).T + ROUNDING).log()


def _measure(images: Tensor) -> Tensor:
    groups = [images]
    if images.shape[1] == 3:
        luma = (images * images.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
        groups = [luma, images[:, ::2] - luma]
    inside = bands(images)
    found: list[Tensor] = []
    for group in groups:
        powers = power(group).sum(dim=1)
        found += [(powers[:, band].mean(dim=1) + ROUNDING).log() for band in inside]
        for axis in (2, 3):
            differences = group
            for _ in range(min(DIFFERENCES, images.shape[axis] - 1)):
                differences = differences.diff(dim=axis)
                found.append((differences.pow(4).mean(dim=(1, 2, 3)) + ROUNDING**2).log() / 2)
    return torch.stack(found, dim=1)


def power(images: Tensor) -> Tensor:
    """The squared coefficients of the orthonormal cosine transform of images (N, C, H, W): (N, C, H, W).

    Unlike Fourier's, the transform (DCT-II, Ahmed et al. 1974) does not see the border of an image as an edge, which
    no blur would soften.
    """
    down, across = (_cosines(side, images) for side in images.shape[2:])
    return (down @ images @ across.T).square()


def _cosines(side: int, like: Tensor) -> Tensor:
    """The basis of the cosine transform, one wave per row: (side, side)."""
    places = torch.arange(side, device=like.device, dtype=like.dtype)
    waves = torch.cos(math.pi / side * places[:, None] * (places + 0.5)) * math.sqrt(2 / side)
    waves[0] /= math.sqrt(2)
    return waves


def frequencies(images: Tensor) -> tuple[Tensor, Tensor]:
    """For each coefficient of images (N, C, H, W) its frequency in cycles per pixel and its sector, (H, W) each."""
    down, across = (torch.arange(side, device=images.device) / (2 * side) for side in images.shape[2:])
    angle = torch.atan2(down[:, None], across[None]) / (math.pi / 2)  # in [0, 1]
    # The diagonal sector is as wide as the other two together, which lie at both ends of the quarter circle.
    sector = (angle * (SECTORS - 1) + 0.5).floor().long()
    return (down[:, None].square() + across.square()).sqrt(), sector


def bands(images: Tensor) -> list[Tensor]:
    """The coefficients in each band of images (N, C, H, W), (H, W) bool; small images have no coarse bands."""
    radius, sector = frequencies(images)
    found = [
        (radius > low) & (radius <= high) & (sector == number)
        for number in range(SECTORS)
        for low, high in pairwise(EDGES)
    ]
    return [band for band in found if int(band.sum()) > 1]
