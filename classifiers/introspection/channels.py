"""Channel statistics of a classifier: what its convolutions see in an image wherever it is, its style and texture."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeGuard

import torch
from torch import Tensor, nn

from .graphs import convolution_nodes
from .layers import Layer, Rows, Watch, layers_of


class ChannelStatistics:
    """Computes the mean and the standard deviation over the pixels of every channel after every convolution.

    They say which patterns there are in an image and how unevenly they are spread, and nothing about places. Nothing of
    the classifier is changed after a call.

    Source: Huang and Belongie 2017, Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization, arXiv
    1703.06868, equations 5 and 6 for the statistics, and equation 13, which compares those of several layers. There, a
    small constant is added to the variance.

    Args:
        classifier: image batch -> logits (N, K).
        image: (1, C, H, W) in [0, 1], on which the convolutions are found.

    Attributes:
        channels: number of channels of each convolution, in the order in which they are evaluated. Those with a single
            pixel are left out, because they have no spread. Empty if there are none, or the classifier shows none: it
            is a plain function or TorchScript.
        sizes: number of values of each convolution: twice its channels. `values.split(statistics.sizes, dim=1)` gives
            those of each convolution.
    """

    def __init__(self, classifier: Callable[[Tensor], Tensor], image: Tensor) -> None:
        self.channels: tuple[int, ...] = ()
        layers = layers_of(
            classifier, lambda module: isinstance(module, nn.Conv2d | nn.ConvTranspose2d), convolution_nodes
        )
        self._watch = Watch(classifier, layers)
        if not layers:
            return
        seen: list[int] = []

        def look(_layer: Layer, _input: object, output: object) -> None:
            if _is_spread(output):
                seen.append(output.shape[1])

        with torch.no_grad():
            self._watch(image, look)
        self.channels = tuple(seen)

    @property
    def sizes(self) -> list[int]:
        return [2 * channels for channels in self.channels]

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (N, C, H, W) -> statistics (N, F) and logits (N, K), differentiable if images and classifier are.

        For each convolution in turn they are the means of its channels, then their standard deviations (of all pixels,
        not an estimate from a sample), in the unit of its outputs.
        """
        assert self.channels
        rows = [Rows(len(images)) for _ in self.channels]
        place = 0

        def look(_layer: Layer, _input: object, output: object) -> None:
            nonlocal place
            if _is_spread(output):
                deviations, means = torch.std_mean(output, dim=(2, 3), correction=0)
                rows[place % len(rows)].add(torch.cat([means, deviations], dim=1))
                place += 1

        logits = self._watch(images, look)
        return torch.cat([each.joined() for each in rows], dim=1), logits


def _is_spread(output: object) -> TypeGuard[Tensor]:
    """Whether the output of a convolution is (n, F, h, w) with several pixels."""
    return isinstance(output, Tensor) and output.dim() == 4 and output.shape[2] * output.shape[3] > 1
