"""How the classes of a classifier correspond to the labels that a bundle's parts were trained with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Labelling:
    """The classes of a classifier as labels.

    The parts of a bundle that was made from images of some of the classifier's classes know a label for each of these,
    and one last label for all other classes. In all other bundles classes and labels are the same.

    Attributes:
        columns: the class of each label but the last; None if classes and labels are the same.
    """

    columns: tuple[int, ...] | None = None

    def labels_of(self, classes: Tensor) -> Tensor:
        """Converts classes (N,) to labels (N,). Classes without a label of their own get the last one."""
        if self.columns is None:
            return classes
        matches = classes[:, None] == torch.tensor(self.columns, device=classes.device)
        return torch.where(matches.any(dim=1), matches.int().argmax(dim=1), len(self.columns))

    def classes_of(self, labels: Tensor) -> Tensor:
        """Converts labels (N,), none of them the last, to classes (N,)."""
        return labels if self.columns is None else torch.tensor(self.columns, device=labels.device)[labels]

    def condition(self, probabilities: Tensor) -> Tensor:
        """Sums the probabilities of the classes (N, K) to probabilities of the labels (N, L)."""
        if self.columns is None:
            return probabilities
        own = probabilities[:, list(self.columns)]
        if len(self.columns) == probabilities.shape[1]:
            return own
        return torch.cat([own, (1 - own.sum(dim=1, keepdim=True)).clamp_min(0)], dim=1)


IDENTITY_LABELLING = Labelling()
"""Labels that are the classes themselves."""
