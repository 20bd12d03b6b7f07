"""A velocity field for flow matching: a small U-Net that transports images to noise and back, given probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import CHANNELS_LAST, Size

GROUPS = 8  # of the group norms
FINEST = 2  # side of the squares of pixels that are folded into channels, which makes every layer 4 times cheaper
COARSEST = 8  # pixels; the feature maps are halved until their longer side is at most this
FREQUENCIES = 32  # of the sinusoidal encoding of the level
LOG_FLOOR = -8.0  # log-probabilities below this are not told apart


@dataclass(frozen=True)
class Pull:
    """Keeps what a field generates near given images.

    At each step the image that the field predicts, x - t v, is replaced by argmin_y |y - x + t v|^2 / 2 + w |y - to|_1:
    pixels move towards `to` by at most w, and those that are within w of it become equal to it (the proximal operator
    of the L1 distance; Parikh and Boyd 2014, Proximal Algorithms, section 6.5.2). Han et al. 2023, ProxEdit, arXiv
    2306.05414, apply such an operator to the effect of the guidance.

    Attributes:
        to: (N, C, H, W), scaled to [-1, 1].
        weight: (N,) w, in units of the scaled range, of width 2; 0 does nothing.
        above: the level above which it acts; below, the field alone draws the fine detail.
    """

    to: Tensor
    weight: Tensor
    above: float = 0.3

    def applied(self, velocity: Tensor, noised: Tensor, level: Tensor) -> Tensor:
        """The velocity (N, C, H, W), of images (N, C, H, W) at levels (N,), that leads to the replaced images."""
        levels, most = level[:, None, None, None], self.weight[:, None, None, None]
        difference = self.to - (noised - levels * velocity)
        pulled = velocity - torch.clamp(difference, -most, most) / levels.clamp(min=self.above)
        return torch.where(levels > self.above, pulled, velocity)


class VelocityField(nn.Module):
    """The velocity d x_t / d t of x_t = (1 - t) image + t noise, conditioned on class probabilities.

    The *level* t is 0 at the image and 1 at pure Gaussian noise. All images here are scaled to [-1, 1].
    The condition is the explained classifier's output, with logarithms, so that images of which it is 90 % and 99 %
    sure are told apart. Without a condition the field is that of all images, as free guidance needs it.

    Source: Lipman et al. 2023, Flow Matching, arXiv 2210.02747, equations 20 to 23; U-Net with a group norm that the
    embedding scales and shifts as in Dhariwal and Nichol 2021, arXiv 2105.05233, section 3.1.

    Args:
        channels, size: of the images.
        classes: number K of probabilities.
        width: feature maps of the finest level; coarser ones have twice as many.
        blocks: residual blocks at the coarsest level, the middle one followed by attention.

    Attributes:
        typical: (K, K) the mean probabilities of the images that the classifier is surest of, by class: what a
            condition for "surely this class" looks like. One-hot until training has stored them.
    """

    typical: Tensor

    def __init__(self, channels: int, size: Size, classes: int, width: int = 64, blocks: int = 3) -> None:
        super().__init__()
        self.channels = channels
        self.height, self.width = (size, size) if isinstance(size, int) else size
        self.classes = classes
        side, self.halvings = max(self.height, self.width) / FINEST, 0
        while side > COARSEST:
            side, self.halvings = side / 2, self.halvings + 1
        embedding = 4 * width
        self.of_level = nn.Sequential(nn.Linear(2 * FREQUENCIES, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.of_condition = nn.Sequential(nn.Linear(2 * classes, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.unconditional = nn.Parameter(torch.zeros(embedding))
        inner = channels * FINEST**2
        widths = [width] + [2 * width] * self.halvings
        self.enter = nn.Conv2d(inner, width, 3, padding=1)
        self.down = nn.ModuleList(Residual(each, each, embedding) for each in widths[:-1])
        steps = [*pairwise(widths)]
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in steps)
        self.middle = nn.ModuleList(Residual(widths[-1], widths[-1], embedding) for _ in range(blocks))
        self.attention = Attention(widths[-1])
        self.grow = nn.ModuleList(nn.Conv2d(coarse, fine, 3, padding=1) for fine, coarse in steps)
        self.up = nn.ModuleList(Residual(2 * each, each, embedding) for each in widths[:-1])
        last = nn.Conv2d(width, inner, 3, padding=1)
        nn.init.zeros_(last.weight)
        self.leave = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), last)
        self.register_buffer("typical", torch.eye(classes))
        self.to(memory_format=CHANNELS_LAST)

    def forward(self, noised: Tensor, level: Tensor, condition: Tensor | None, dropped: Tensor | None = None) -> Tensor:
        """Velocity (N, C, H, W) at images (N, C, H, W), scaled to [-1, 1] and partly noise.

        Args:
            noised: the images.
            level: (N,) of each, in [0, 1].
            condition: (N, K) probabilities; None: no condition.
            dropped: (N,) bool, the images whose condition is to be ignored.
        """
        embedding = self.of_level(sinusoidal(level))
        if condition is None:
            embedding = embedding + self.unconditional
        else:
            logs = condition.clamp(min=math.exp(LOG_FLOOR)).log() / -LOG_FLOOR + 1
            given = self.of_condition(torch.cat([condition, logs], dim=1))
            if dropped is not None:
                given = torch.where(dropped[:, None], self.unconditional, given)
            embedding = embedding + given
        embedding = F.silu(embedding)
        step = FINEST * 2**self.halvings
        right, below = -self.width % step, -self.height % step
        padded = F.pad(noised, (0, right, 0, below), mode="replicate") if right or below else noised
        x = self.enter(F.pixel_unshuffle(padded, FINEST))
        kept: list[Tensor] = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            x = block(x, embedding)
            kept.append(x)
            x = shrink(x)
        for place, block in enumerate(self.middle):
            x = block(x, embedding)
            if place == len(self.middle) // 2:
                x = self.attention(x)
        for block, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            x = grow(F.interpolate(x, scale_factor=2.0, mode="nearest"))
            x = block(torch.cat([x, kept.pop()], dim=1), embedding)
        return F.pixel_shuffle(self.leave(x), FINEST)[..., : self.height, : self.width]

    def guided(self, noised: Tensor, level: Tensor, condition: Tensor, guidance: Tensor | None) -> Tensor:
        """The velocity with the condition's effect multiplied by `guidance` (N,) (classifier-free guidance).

        Ho and Salimans 2022, arXiv 2207.12598, equation 6, where w + 1 is the guidance here; None is 1, the plain
        velocity, which takes half the time.
        """
        if guidance is None:
            return self(noised, level, condition)
        twice = torch.cat([noised, noised]), torch.cat([level, level]), torch.cat([condition, condition])
        dropped = torch.arange(2 * len(noised), device=noised.device) >= len(noised)
        given, free = self(*twice, dropped).chunk(2)
        return torch.lerp(free, given, guidance[:, None, None, None])

    def integrate(
        self,
        noised: Tensor,
        start: Tensor,
        end: Tensor,
        condition: Tensor,
        *,
        steps: int,
        guidance: Tensor | None = None,
        pull: Pull | None = None,
        speed: float = 1.0,
    ) -> Tensor:
        """Follow the field from one level to another, with Heun's method.

        Args:
            noised: (N, C, H, W), scaled to [-1, 1].
            start, end: (N,) levels of each image.
            condition: (N, K) probabilities.
            steps: of equal length, each with two evaluations.
            guidance: as in `guided`.
            pull: keeps the images near others; None: nothing does.
            speed: share of the velocity; the levels that it is that of are passed all the same.

        Returns:
            (N, C, H, W), scaled to [-1, 1] and not clamped.
        """
        size = (end - start) / steps
        wide = speed * size[:, None, None, None]

        def velocity(noised: Tensor, level: Tensor) -> Tensor:
            found = self.guided(noised, level, condition, guidance)
            return found if pull is None else pull.applied(found, noised, level)

        for step in range(steps):
            level = start + size * step
            here = velocity(noised, level)
            there = velocity(noised + wide * here, level + size)
            noised = noised + wide * (here + there) / 2
        return noised


class Residual(nn.Module):
    """A residual block of two convolutions, whose second norm is scaled and shifted by the embedding."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(GROUPS, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.film = nn.Linear(embedding, 2 * outputs)
        self.norm = nn.GroupNorm(GROUPS, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, dim=1)
        inner = torch.addcmul(shift, self.norm(self.first(x)), 1 + scale)
        return self.skip(x) + self.second(F.silu(inner))


class Attention(nn.Module):
    """Self-attention over all positions, added to its input."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, width)
        self.project = nn.Linear(width, 3 * width)
        self.combine = nn.Linear(width, width)
        nn.init.zeros_(self.combine.weight)

    def forward(self, x: Tensor) -> Tensor:
        count, width, height, breadth = x.shape
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        split = self.project(tokens).view(count, height * breadth, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        # With so few tokens this is faster on a CPU than `scaled_dot_product_attention`, whose gradient is slow there.
        weights = (query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5).softmax(dim=-1)
        mixed = (weights @ value).transpose(1, 2).flatten(2)
        return x + self.combine(mixed).transpose(1, 2).view(count, width, height, breadth)


def sinusoidal(level: Tensor) -> Tensor:
    """Levels (N,) in [0, 1] as sines and cosines of 1 to 1,000 radians per unit, (N, 2 * FREQUENCIES)."""
    rates = torch.exp(torch.linspace(0, math.log(1000), FREQUENCIES, device=level.device))
    angles = level[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
