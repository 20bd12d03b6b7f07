"""How strong the traces of an effect such as blur are in an image, compared with real images of a class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .percentiles import percentile_among

LEVELS = 1000  # quantiles; the ends of the range are judged, so that they must be finer than those of a distance


class MatchedFilter(nn.Module):
    """What real images of each class measure, and how strong the traces of an effect in them are. It has no network.

    The strength of an effect in an image is `weights` . (`means` - measures): 0 for the mean of the class, 1 for an
    image on which the effect has acted once, negative for images with less of it than the mean. The weights are those
    of the generalised least squares estimate, C^-1 d / (d^T C^-1 d), with C the covariance of the measures in the class
    and d what the effect takes from them (Aitken 1936; as a detector, the matched filter).

    Args:
        classes: number of classes K.
        measures: number of measures of an image, F.
        quantiles: name of the buffer of Q quantiles of the strength in real images, (K, Q).
        levels: number of quantiles Q.
    """

    means: Tensor
    weights: Tensor

    def __init__(self, classes: int, measures: int, quantiles: str, levels: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(classes, measures))
        self.register_buffer("weights", torch.zeros(classes, measures))
        self.register_buffer(quantiles, torch.zeros(classes, levels))
        self._quantiles = quantiles

    @property
    def quantiles(self) -> Tensor:
        """The quantiles of the strength in real images, (K, Q), ascending."""
        return getattr(self, self._quantiles)

    def measure(self, images: Tensor) -> Tensor:
        """The measures of images (N, C, H, W): (N, F)."""
        raise NotImplementedError

    def strength(self, images: Tensor, labels: Tensor) -> Tensor:
        """How strong the effect is in images (N, C, H, W), compared with real images of their label (N,): (N,)."""
        return ((self.means[labels] - self.measure(images)) * self.weights[labels]).sum(dim=1)

    def percentile(self, images: Tensor, labels: Tensor) -> Tensor:
        """Percentage of real images of the class (N,) in which the effect is at least as strong, in [0, 100]."""
        return percentile_among(self.quantiles[labels], self.strength(images, labels))
