"""How an image compares with real images of a class: in a judge's features, in its sharpness and in its noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .noise import Noise
from .percentiles import percentile_among
from .sharpness import Sharpness

ROWS_AT_ONCE = 512
LEAST_DISTANCE = 1e-6  # that of an image which is in the data twice; its logarithm is finite
FAR = 1e4  # coordinates of the padding for classes with fewer features, so far away that it is never the nearest


class RealImages(nn.Module):
    """Features of real images by class, and the distances of other real images of the class to them.

    The distance of an image to a class is the mean distance to its `neighbours` nearest features of that class.
    `distances` holds Q quantiles, in ascending order, of this distance over real images that are not among the
    features, so that the distance of any image can be expressed as a percentile. The margin of an image is the
    logarithm of this distance over that to the nearest other class; `margins` holds its quantiles.

    Args:
        classes: number of classes K.
        count: largest number of features per class, R; classes with fewer are padded with points very far away.
        features: dimension of the judge's features, F.
        levels: number of quantiles, Q.
        neighbours: how many nearest features are averaged.
        details: number of measures of detail for `sharpness`; 0 in files of earlier versions, which lack it.
        noises: number of measures for `noise`; 0 in files of earlier versions, which lack it and the margins.

    Attributes:
        sharpness: compares the fine detail of an image with that of real images; None without `details`.
        noise: compares the noise of an image with that of real images; None without `noises`.
    """

    features: Tensor
    distances: Tensor
    margins: Tensor

    def __init__(
        self,
        classes: int,
        count: int,
        features: int,
        levels: int,
        neighbours: int = 5,
        details: int = 0,
        noises: int = 0,
    ) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.register_buffer("features", torch.full((classes, count, features), FAR))
        self.register_buffer("distances", torch.zeros(classes, levels))
        self.sharpness = Sharpness(classes, details) if details else None
        self.noise = Noise(classes, noises) if noises else None
        if noises:
            self.register_buffer("margins", torch.zeros(classes, levels))

    def distance(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean distance of features (N, F) to the nearest real features of their label (N,): (N,)."""
        result = torch.empty(len(features), device=features.device)
        for label in labels.unique().tolist():
            chosen = labels == label
            real = self.features[label][self.features[label, :, 0] < FAR / 2]
            count = min(self.neighbours, len(real))
            nearest = torch.cdist(features[chosen], real).topk(count, largest=False)
            result[chosen] = nearest.values.mean(dim=1)
        return result

    def nearest_labels(self, features: Tensor, count: int) -> Tensor:
        """Labels of the `count` real features of all classes nearest to features (N, F): (N, count) int64."""
        everything = self.features.flatten(0, 1)
        # In batches, to limit the memory for the matrix of distances, (ROWS_AT_ONCE, K * R).
        nearest = [
            torch.cdist(batch, everything).topk(count, largest=False).indices for batch in features.split(ROWS_AT_ONCE)
        ]
        return torch.cat(nearest) // self.features.shape[1]

    def margin(self, features: Tensor, labels: Tensor) -> Tensor:
        """Logarithm of the distance of features (N, F) to their label (N,) over that to the nearest other class: (N,).

        Below 0 for an image that is nearer to its own class than to any other.
        """
        own, nearest = self.distance(features, labels), torch.full((len(features),), torch.inf, device=features.device)
        for label in (self.features[:, 0, 0] < FAR / 2).nonzero().flatten().tolist():
            distance = self.distance(features, torch.full_like(labels, label))
            nearest = torch.where(labels == label, nearest, torch.minimum(nearest, distance))
        return own.clamp(min=LEAST_DISTANCE).log() - nearest.clamp(min=LEAST_DISTANCE).log()

    def percentile(self, features: Tensor, labels: Tensor) -> Tensor:
        """Percentage of real images of the class (N,) at least as far from it as features (N, F), in [0, 100]."""
        return percentile_among(self.distances[labels], self.distance(features, labels))

    def class_percentile(self, features: Tensor, labels: Tensor) -> Tensor:
        """Percentage of real images of the class (N,) with at least the margin of features (N, F), in [0, 100]."""
        return percentile_among(self.margins[labels], self.margin(features, labels))
