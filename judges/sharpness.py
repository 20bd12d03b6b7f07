"""How blurred an image is, compared with real images of a class: from statistics of its pixels, without a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..images.detail import measure_detail

LEVELS = 1000  # quantiles; both ends of the range are judged, so that they must be finer than those of a distance


class Sharpness(nn.Module):
    """What the detail in real images of each class is like, and how their blur varies.

    The blur of an image is `weights` . (`means` - `measure_detail`): 0 for the mean of the class, 1 for an image from
    which a blur takes half the power of the finest octave, negative for images with more fine detail. The weights are
    those of the generalised least squares estimate, C^-1 d / (d^T C^-1 d), with C the covariance of the measures in
    the class and d what a blur takes from them (Aitken 1936; as a detector, the matched filter). A threshold on the
    power of the finest octave alone would not do: between images it varies by far more than a factor of two, but
    together with that of the coarser octaves, which a blur leaves alone.

    Args:
        classes: number of classes K.
        details: number of measures of detail, F.
        levels: number of quantiles Q of the blur of real images.
    """

    means: Tensor
    weights: Tensor
    blurs: Tensor

    def __init__(self, classes: int, details: int, levels: int = LEVELS) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(classes, details))
        self.register_buffer("weights", torch.zeros(classes, details))
        self.register_buffer("blurs", torch.zeros(classes, levels))

    def blur(self, images: Tensor, labels: Tensor) -> Tensor:
        """The blur of images (N, C, H, W), compared with real images of their label (N,): (N,)."""
        return ((self.means[labels] - measure_detail(images)) * self.weights[labels]).sum(dim=1)

    def percentile(self, images: Tensor, labels: Tensor) -> Tensor:
        """Percentage of real images of the class (N,) at least as blurred as images (N, C, H, W), in [0, 100]."""
        sharper = torch.searchsorted(self.blurs[labels].contiguous(), self.blur(images, labels)[:, None]).squeeze(1)
        return 100 * (1 - sharper / self.blurs.shape[1])
