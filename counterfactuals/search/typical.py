"""Typicality: how near candidates are to real images of their target, in the features of the classifier itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...generative.donors import DonorSource

NEIGHBOURS = 3  # real images whose mean distance counts


class Typical:
    """Whether the mean distance to the 3 nearest training images of the class (penultimate features) is at most the
    `percentile` of that distance within the class.

    People who change an image into another class go on after the classifier's boundary, towards what is typical of the
    class (Delaney et al. 2022, arXiv 2212.08733, who measure it by the distance to class prototypes). An engine whose
    candidates must be typical goes on, too. No judge is asked: the features are those of the explained classifier.

    Args:
        donors: training images of each class.
        percentile: of the distances among the class's own training images, which an image must not exceed.
    """

    def __init__(self, donors: DonorSource, percentile: float) -> None:
        self.donors = donors
        self.percentile = percentile
        self._known: dict[int, tuple[Tensor, Tensor]] = {}

    def holds(
        self,
        features: Tensor,
        labels: Tensor,
        of_images: Callable[[Tensor], Tensor],
        percentile: float | None = None,
    ) -> Tensor:
        """Whether images are typical, (M,) bool; where a class has too few training images to tell, none is.

        Args:
            features: (M, F) of the images.
            labels: (M,) the class of which each is to be typical.
            of_images: images (N, C, H, W) -> features (N, F).
            percentile: instead of the usual one.
        """
        share = (self.percentile if percentile is None else percentile) / 100
        found = torch.zeros(len(labels), dtype=torch.bool, device=features.device)
        for label in labels.unique().tolist():
            if label not in self._known:
                self._known[label] = self._look(label, of_images, features)
            known, distances = self._known[label]
            mask = labels == label
            if len(known) > NEIGHBOURS:
                found[mask] = nearest(features[mask], known) <= float(distances.quantile(share))
        return found

    def _look(self, label: int, of_images: Callable[[Tensor], Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
        """The features (N, F) of a class's training images, and the distance (N,) of each from the others."""
        images = self.donors.of_label(label).images.to(like.device)
        if len(images) <= NEIGHBOURS:
            return like[:0], like[:0, 0]
        features = torch.cat([of_images(batch) for batch in images.split(250)])
        distances = torch.cdist(features, features).fill_diagonal_(torch.inf)
        return features, distances.topk(NEIGHBOURS, largest=False).values.mean(dim=1)


def nearest(features: Tensor, known: Tensor) -> Tensor:
    """The mean distance (M,) of features (M, F) to the `NEIGHBOURS` nearest of the known ones (N, F)."""
    return torch.cdist(features, known).topk(NEIGHBOURS, largest=False).values.mean(dim=1)
