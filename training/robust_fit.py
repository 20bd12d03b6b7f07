"""Adversarial training of a classifier: it learns from the worst images within a distance, not from the images."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..counterfactuals.engine import undisturbed
from ..errors import UsageError
from ..images.sets.labelled import Labelled
from .classifier_fit import ClassifierFit
from .measures import share

EXTRA = "cfx-toolkit[attacks]"
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


def attack(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, steps: int) -> Tensor:
    """Images (N, C, H, W) within an L2 distance, on which the model is as wrong as the attack can make it.

    Args:
        model: the classifier; attacked in eval mode, and left as it is.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) their classes.
        epsilon: the distance.
        steps: of projected gradient descent, from a random start, which can go two and a half times as far.

    Raises:
        UsageError: the library of attacks is not installed.
    """
    foolbox = library()
    with torch.enable_grad(), undisturbed(model):
        target = foolbox.PyTorchModel(model, bounds=(0, 1), device=images.device)
        method = foolbox.attacks.L2PGD(steps=steps, rel_stepsize=2.5 / steps)
        return method.run(target, images, foolbox.Misclassification(labels), epsilon=epsilon).detach()


def robust_accuracy(model: nn.Module, data: Labelled, epsilon: float, *, steps: int, batch_size: int = 250) -> float:
    """The share of images that stay correctly classified under an attack."""
    right: list[Tensor] = []
    for batch in data.batches(batch_size):
        images, labels = batch.floats(), batch.labels
        attacked = attack(model, images, labels, epsilon, steps)
        with torch.no_grad():
            right.append((model(images).argmax(dim=1) == labels) & (model(attacked).argmax(dim=1) == labels))
    return share(torch.cat(right))


def library() -> Any:
    """The library of attacks.

    Raises:
        UsageError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import foolbox
    except ImportError as error:
        raise UsageError(f"robust_classifier: needs a library of attacks; pip install '{EXTRA}'") from error
    return foolbox
