"""Labelled image sets in memory, and the split that keeps what is judged apart from what judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from .errors import DataError


@dataclass(frozen=True)
class Labelled:
    """Images and their classes.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Tensor | slice) -> Labelled:
        return Labelled(self.images[index], self.labels[index])

    def of_class(self, label: int) -> Labelled:
        """Only the images of one class."""
        return self[self.labels == label]

    def batches(self, size: int) -> Iterator[Labelled]:
        """The images in their order, at most `size` at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def floats(self, index: Tensor | slice = slice(None)) -> Tensor:
        """An image batch: (N, C, H, W) float32 in [0, 1]."""
        return self.images[index].float() / 255


@dataclass(frozen=True)
class Split:
    """One training set cut in four, plus the test set.

    The explained classifier and the generative models see only `fit`; hyper-parameters are chosen on
    `held_out`. The judges see only `judge_fit` and are checked on `judge_held_out`. Nothing is chosen on `test`.
    """

    fit: Labelled
    held_out: Labelled
    judge_fit: Labelled
    judge_held_out: Labelled
    test: Labelled


SPLIT_PARTS: Final = ("fit", "held_out", "judge_fit", "judge_held_out", "test")
"""The parts of a `Split`."""


def in_parts(function: Callable[..., Tensor], *batches: Tensor, size: int = 250) -> Tensor:
    """What a function of batches returns, called on `size` images at a time: thousands would not fit in memory."""
    return torch.cat([function(*parts) for parts in zip(*(batch.split(size) for batch in batches), strict=True)])


TORCHVISION_SETS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


def load_torchvision(name: str, root: Path, train: bool) -> Labelled:
    """Read MNIST or Fashion-MNIST in torchvision's layout below `root`.

    Raises:
        DataError: the files are not there; says where they are looked for.
    """
    from torchvision import datasets  # costs a second, and only training needs it

    try:
        found = getattr(datasets, TORCHVISION_SETS[name])(root=str(root), train=train, download=False)
    except RuntimeError as error:
        raise DataError(
            f"{root}: no {TORCHVISION_SETS[name]} there; expected the files that torchvision keeps in "
            f"{root / TORCHVISION_SETS[name] / 'raw'}"
        ) from error
    return Labelled(found.data.unsqueeze(1), found.targets.long())


def split_in_two(train: Labelled, test: Labelled, held_out: int = 2000, share: float = 0.5, seed: int = 0) -> Split:
    """Cut a training set into two disjoint parts, each with a held-out part of its own.

    Args:
        share: of the explained world; the rest is the judges'.
    """
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    first = round(len(train) * share)
    explained, judging = order[:first], order[first:]
    return Split(
        fit=train[explained[held_out:]],
        held_out=train[explained[:held_out]],
        judge_fit=train[judging[held_out:]],
        judge_held_out=train[judging[:held_out]],
        test=test,
    )
