"""Adversarial training of a classifier: it learns from the worst images within a distance, not from the images."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..classifiers.introspection.attacks import attack
from ..images.sets.labelled import Labelled
from .classifier_fit import ClassifierFit
from .measures import share

RAMP = 0.3  # share of the training over which the distance grows to its full length


class RobustFit(ClassifierFit):
    """Cross-entropy of images that a few steps of projected gradient descent have made as hard as possible.

    Source: Madry et al. 2018, arXiv 1706.06083, equation 2.1, with the L2 norm. The attack is foolbox's.

    Args:
        model, data, options: as in `ClassifierFit`.
        epsilon: largest L2 norm of the change to an image.
        attack_steps: of the attack.
    """

    def __init__(self, model: nn.Module, data: Labelled, *, epsilon: float, attack_steps: int, **options: Any) -> None:
        super().__init__(model, data, **options)
        self.epsilon = epsilon
        self.attack_steps = attack_steps

    def hardened(self, images: Tensor, labels: Tensor, index: int) -> Tensor:
        """Images (N, C, H, W) that are attacked, the harder the later in the training."""
        epsilon = self.epsilon * min(1.0, (self.over(index) + 0.01) / RAMP)
        return attack(self.model, images.clamp(0, 1), labels, epsilon, self.attack_steps)

    def check(self, data: Labelled) -> Tensor:
        """Cross-entropy of attacked images, in nats."""
        attacked = attack(self.model, data.floats(), data.labels, self.epsilon, self.attack_steps)
        return F.cross_entropy(self.model(attacked), data.labels)

    def has_learned(self, data: Labelled) -> bool:
        return False  # being right on images that are not attacked says nothing here


def robust_accuracy(model: nn.Module, data: Labelled, epsilon: float, *, steps: int, batch_size: int = 250) -> float:
    """The share of images that stay correctly classified under an attack."""
    right: list[Tensor] = []
    for batch in data.batches(batch_size):
        images, labels = batch.floats(), batch.labels
        attacked = attack(model, images, labels, epsilon, steps)
        with torch.no_grad():
            right.append((model(images).argmax(dim=1) == labels) & (model(attacked).argmax(dim=1) == labels))
    return share(torch.cat(right))
