"""A judge of nobody here: the digit classifier of the package digit-recognizer-py, by Shivam Gupta (MIT).

It was trained by its author on MNIST, is right on 99.06 % of the test digits, and takes pixels with the mean .1307 and
the standard deviation .3081 taken away and divided by, as its `recognizer.py` does.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from ...classifiers.foreign.adapted import Adapted
from ...classifiers.foreign.factories import open_factory
from ...classifiers.foreign.preprocessing import Preprocessing

PACKAGE = "digit-recognizer-py==0.1.0"
MODULE = "digit_recognizer"
BATCH = 500  # images


def stranger() -> Adapted | None:
    """The classifier, image batch (N, 1, 28, 28) in [0, 1] -> logits (N, 10); None if its package is not installed."""
    found = find_spec(MODULE)
    if found is None or found.origin is None:
        return None
    weights = Path(found.origin).parent / "models" / "handwriting_model.pth"
    foreign = open_factory(f"{MODULE}.model:CNN", weights)
    return Adapted(foreign.model, Preprocessing(channels=1, size=(28, 28), mean=(0.1307,), std=(0.3081,))).eval()


@torch.inference_mode()
def sees(judge: Adapted, images: Tensor) -> Tensor:
    """The class (N,) that it sees in images (N, 1, 28, 28) in [0, 1]."""
    return torch.cat([judge(each).argmax(dim=1) for each in images.split(BATCH)])
