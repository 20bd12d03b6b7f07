"""How an image compares with real images of a class: its distance to them in a judge's features, and its sharpness."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .sharpness import Sharpness

ROWS_AT_ONCE = 512
FAR = 1e4  # coordinates of the padding for classes with fewer features, so far away that it is never the nearest


class RealImages(nn.Module):
    """Features of real images by class, and the distances of other real images of the class to them.

    The distance of an image to a class is the mean distance to its `neighbours` nearest features of that class.
    `distances` holds Q quantiles, in ascending order, of this distance over real images that are not among the
    features, so that the distance of any image can be expressed as a percentile.

    Args:
        classes: number of classes K.
        count: largest number of features per class, R; classes with fewer are padded with points very far away.
        features: dimension of the judge's features, F.
        levels: number of quantiles, Q.
        neighbours: how many nearest features are averaged.
        details: number of measures of detail for `sharpness`; 0 in files of earlier versions, which lack it.

    Attributes:
        sharpness: compares the fine detail of an image with that of real images; None without `details`.
    """

    features: Tensor
    distances: Tensor

    def __init__(
        self, classes: int, count: int, features: int, levels: int, neighbours: int = 5, details: int = 0
    ) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.register_buffer("features", torch.full((classes, count, features), FAR))
        self.register_buffer("distances", torch.zeros(classes, levels))
        self.sharpness = Sharpness(classes, details) if details else None

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

    def percentile(self, features: Tensor, labels: Tensor) -> Tensor:
        """Percentage of real images of the class (N,) at least as far from it as features (N, F), in [0, 100]."""
        distance = self.distance(features, labels)
        nearer = torch.searchsorted(self.distances[labels].contiguous(), distance[:, None]).squeeze(1)
        return 100 * (1 - nearer / self.distances.shape[1])
