"""How near an image comes to real images of a class, as a judge's features see it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ROWS_AT_ONCE = 512
FAR = 1e4  # each coordinate of what stands where a class has no more features: never the nearest


class RealImages(nn.Module):
    """Features of real images by class, and how far other real images of the class are from them.

    The distance of an image to a class is the mean distance to its `neighbours` nearest features of that
    class. `distances` holds that distance for real images which are not among the features, in rising order:
    against it, any image's distance reads as a percentile.

    Args:
        classes: number of classes K.
        count: most features that a class has, R; a class with fewer is filled up with ones infinitely far away.
        features: dimension of the judge's features, F.
        levels: real images a class whose distances are kept, Q.
        neighbours: how many nearest features are averaged.
    """

    features: Tensor
    distances: Tensor

    def __init__(self, classes: int, count: int, features: int, levels: int, neighbours: int = 5) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.register_buffer("features", torch.full((classes, count, features), FAR))
        self.register_buffer("distances", torch.zeros(classes, levels))

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
        """Labels of the `count` real features, of whatever class, nearest to features (N, F): (N, count) int64."""
        everything = self.features.flatten(0, 1)
        # In parts, because every distance is held at once: (ROWS_AT_ONCE, K * R).
        nearest = [
            torch.cdist(part, everything).topk(count, largest=False).indices for part in features.split(ROWS_AT_ONCE)
        ]
        return torch.cat(nearest) // self.features.shape[1]

    def percentile(self, features: Tensor, labels: Tensor) -> Tensor:
        """Share of real images of the class (N,) that lie at least as far out as features (N, F), in [0, 100]."""
        distance = self.distance(features, labels)
        nearer = torch.searchsorted(self.distances[labels].contiguous(), distance[:, None]).squeeze(1)
        return 100 * (1 - nearer / self.distances.shape[1])
