"""Measurements that several parts share, on images that they were not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..images.sets.labelled import Labelled, in_batches
from ..images.sets.split import Split
from ..intervals import wilson
from .part import Measured, Verdict

MEASURED_ON = 2000  # images
LEAST_EXPLAINED = 0.2  # of the variance of images; a model that draws them and explains less is useless


@torch.inference_mode()
def accuracy(model: nn.Module, data: Labelled, batch_size: int = 512) -> float:
    """Share of `data` that `model` classifies correctly, in [0, 1]; higher is better."""
    model.eval()
    right = sum(int((model(batch.floats()).argmax(1) == batch.labels).sum()) for batch in data.batches(batch_size))
    return right / len(data)


def measure_classifier(model: nn.Module, test: Labelled) -> Measured:
    """The accuracy of a classifier, and of always predicting the most common class."""
    commonest = float(test.labels.bincount().max()) / len(test)
    return {"test_accuracy": round(accuracy(model, test), 5), "commonest_class": round(commonest, 5)}


def sample_of(test: Labelled) -> tuple[Tensor, Tensor]:
    """The test images (N, C, H, W) on which models are measured, and their labels (N,)."""
    return test.floats(slice(0, MEASURED_ON)), test.labels[:MEASURED_ON]


def reconstruction(split: Split[Labelled], images: Tensor, drawn: Tensor) -> Measured:
    """Mean squared error per pixel, and the share of the variance about the mean image that is explained."""
    error = (drawn - images).square().mean()
    spread = (images - split.train.floats(slice(0, MEASURED_ON)).mean(dim=0)).square().mean()
    return {
        "reconstruction_error": round(float(error), 5),
        "variance_explained": round(1 - float(error / spread.clamp(min=1e-9)), 5),
    }


def recognition(judge: nn.Module, test: Labelled, drawn: Tensor, labels: Tensor) -> Measured:
    """The shares of drawn images (N, C, H, W) with their labels (N,), and of real ones, that a judge recognises."""
    images, own = sample_of(test)
    return {
        "judge_recognises": share(in_batches(judge, drawn).argmax(dim=1) == labels),
        "judge_recognises_real": share(in_batches(judge, images).argmax(dim=1) == own),
    }


def next_class(labels: Tensor, present: Sequence[int]) -> Tensor:
    """For each label (N,), the next class among those that have images."""
    following = {label: present[(place + 1) % len(present)] for place, label in enumerate(present)}
    return torch.tensor([following.get(label, present[0]) for label in labels.tolist()])


def share(yes: Tensor) -> float:
    """The share of true values, rounded as bundle.toml keeps it."""
    return round(float(yes.float().mean()), 5)


def verdict_on(good: bool, says: str, otherwise: str, *, useless: str | None = None) -> Verdict:
    """A verdict with the measured figures, and with their consequence if they are not good.

    Args:
        good: whether they are good enough.
        says: the figures.
        otherwise: their consequence if they are not good.
        useless: why the part has learned nothing; None if it has learned something.
    """
    if useless is not None:
        return Verdict("useless", f"{says}: {useless}")
    return Verdict("good", says) if good else Verdict("weak", f"{says}: {otherwise}")


def is_chance(right: float, test: Labelled, count: int | None = None) -> bool:
    """Whether an accuracy on test images, or on `count` of them, may be that of predicting the commonest class."""
    count = min(count or len(test), len(test))
    commonest = float(test.labels.bincount().max()) / len(test)
    return wilson(right * count, count)[0] <= commonest
