"""Attacks: the worst image for a classifier within a distance of another one."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UsageError
from .frozen import frozen_eval

EXTRA = "cfx-toolkit[attacks]"


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
    with torch.enable_grad(), frozen_eval(model):
        target = foolbox.PyTorchModel(model, bounds=(0, 1), device=images.device)
        method = foolbox.attacks.L2PGD(steps=steps, rel_stepsize=2.5 / steps)
        return method.run(target, images, foolbox.Misclassification(labels), epsilon=epsilon).detach()


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
