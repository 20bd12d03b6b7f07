"""Splits a labelled image set so that judges are never trained on the images of the models that they score."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

import torch
from torch import Tensor

from ...errors import DataError

SHARE_TEST = 0.15
SHARE_HELD_OUT = 0.1
MOST_HELD_OUT = 2000  # enough to measure an accuracy to within two percent

# Images of a class: one in each of the five subsets, and a few more in the two training subsets.
FEWEST = 8
FEWEST_OUTSIDE_TEST = 4

SubsetName = Literal["train", "held_out", "judge_train", "judge_held_out", "test"]

SUBSETS: Final[tuple[SubsetName, ...]] = ("train", "held_out", "judge_train", "judge_held_out", "test")
"""The names of the five subsets of a `Split`."""

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Split(Generic[T]):
    """A set of labelled images split into five disjoint subsets: their indices, or the images themselves.

    The explained classifier and the generative models are trained on `train` only; hyper-parameters are chosen on
    `held_out`. The judges are trained on `judge_train` only and checked on `judge_held_out`. Nothing is chosen on
    `test`.

    Attributes:
        train, held_out, judge_train, judge_held_out, test: for each subset, indices into the image set, (M,) int64, or
            the results of `map`.
        too_few: the classes that are in none of them, because they have too few images.
    """

    train: T
    held_out: T
    judge_train: T
    judge_held_out: T
    test: T
    too_few: tuple[int, ...] = ()

    def subset(self, name: SubsetName) -> T:
        """The subset of this name."""
        return getattr(self, name)

    def map(self, function: Callable[[SubsetName, T], U]) -> Split[U]:
        """Applies `function(name, subset)` to each subset."""
        mapped = {name: function(name, self.subset(name)) for name in SUBSETS}
        return Split(**mapped, too_few=self.too_few)


def split_in_two(splits: Sequence[str], held_out: int = 2000, share: float = 0.5, seed: int = 0) -> Split[Tensor]:
    """Split an image set's own training images between the explained models and the judges; the test split is kept.

    Args:
        splits: N times "train" or "test".
        held_out: held-out images of each side.
        share: of the training images for the explained models; the judges get the others.
        seed: of the order.
    """
    in_test = torch.tensor([split == "test" for split in splits], dtype=torch.bool)
    train = (~in_test).nonzero().flatten()
    order = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))]
    first = round(len(train) * share)
    explained, judging = order[:first], order[first:]
    return Split(
        train=explained[held_out:],
        held_out=explained[:held_out],
        judge_train=judging[held_out:],
        judge_held_out=judging[:held_out],
        test=in_test.nonzero().flatten(),
    )


def sample_by_class(labels: Tensor, indices: Tensor, most: int) -> Tensor:
    """About `most` of the indices (M,) in order: the same share of every class, but at least `FEWEST` of each."""
    if len(indices) <= most:
        return indices
    chosen = torch.zeros(len(indices), dtype=torch.bool)
    for label in labels[indices].unique().tolist():
        own = (labels[indices] == label).nonzero().flatten()
        chosen[own[: max(FEWEST, round(len(own) * most / len(indices)))]] = True
    return indices[chosen]


def split_by_class(labels: Tensor, splits: Sequence[str], seed: int = 0, classes: int | None = None) -> Split[Tensor]:
    """Split an image set into a half for the explained models, a half for the judges, and a test set.

    Every class is split in the same proportions and has at least one image in every subset. The set's own test split is
    kept. Classes without images in it, or all classes if there is no test split, give 15 % of their images to the test
    set. 10 % of each half are held out, but at most 2000 images unless there are more classes than that. Classes with
    fewer than 8 images, or fewer than 4 outside the test split, are left out.

    Args:
        labels: (N,) int64.
        splits: N times "train", "test" or "".
        seed: of the random number generator.
        classes: K, needed if the last classes may have no images; None takes the highest label.

    Raises:
        DataError: no class has enough images.
    """
    generator = torch.Generator().manual_seed(seed)
    given = torch.tensor([split == "test" for split in splits], dtype=torch.bool)
    cuts: list[tuple[Tensor, Tensor, Tensor]] = []  # of each class: explained models, judges, test
    too_few: list[int] = []
    if classes is None:
        classes = int(labels.max()) + 1 if len(labels) else 0
    for label in range(classes):
        own = (labels == label).nonzero().flatten()
        own = own[torch.randperm(len(own), generator=generator)]
        test, rest = own[given[own]], own[~given[own]]
        if not len(test):
            count = max(1, round(SHARE_TEST * len(own)))
            test, rest = own[:count], own[count:]
        if len(own) < FEWEST or len(rest) < FEWEST_OUTSIDE_TEST:
            too_few.append(label)
            continue
        middle = (len(rest) + 1) // 2
        cuts.append((rest[:middle], rest[middle:], test))
    if not cuts:
        raise DataError(
            f"no class has {FEWEST} images, {FEWEST_OUTSIDE_TEST} of them outside the test split, which are needed to "
            "train and test models; add images"
        )
    halves: list[list[Tensor]] = []
    for half in (0, 1):
        share = min(SHARE_HELD_OUT, MOST_HELD_OUT / sum(len(cut[half]) for cut in cuts))
        counts = [max(1, int(share * len(cut[half]))) for cut in cuts]
        held_out = torch.cat([cut[half][:count] for cut, count in zip(cuts, counts, strict=True)])
        train = torch.cat([cut[half][count:] for cut, count in zip(cuts, counts, strict=True)])
        halves.append([train, held_out])
    test = torch.cat([cut[2] for cut in cuts])
    subsets = [subset[torch.randperm(len(subset), generator=generator)] for subset in (*halves[0], *halves[1], test)]
    return Split(
        train=subsets[0],
        held_out=subsets[1],
        judge_train=subsets[2],
        judge_held_out=subsets[3],
        test=subsets[4],
        too_few=tuple(too_few),
    )


def split_by_group(
    labels: Tensor, splits: Sequence[str], groups: Sequence[str], seed: int = 0, classes: int | None = None
) -> Split[Tensor]:
    """Split as `split_by_class`, but keep all images of a group, such as a person or a patient, in one subset.

    Otherwise images of one person on both sides of a cut make every accuracy too high. Groups are placed one after the
    other, the largest first, where their classes lack most images, so that the shares are met only nearly. A group with
    an image in the set's own test split is in the test subset as a whole.

    Args:
        labels, splits, seed, classes: as in `split_by_class`.
        groups: N names of groups.

    Raises:
        DataError: no class has images of enough groups.
    """
    classes = classes or int(labels.max()) + 1
    names, group = torch.unique(torch.tensor([hash_of(name) for name in groups]), return_inverse=True)
    counts = torch.zeros(len(names), classes)  # images of each class in each group
    counts.index_put_((group, labels), torch.ones(len(labels)), accumulate=True)
    given = torch.zeros(len(names), dtype=torch.bool)
    given[group[torch.tensor([split == "test" for split in splits], dtype=torch.bool)]] = True
    rest = len(labels) - int(counts[given].sum())
    held_out = min(SHARE_HELD_OUT, MOST_HELD_OUT / max(1, rest / 2))
    test = 0.0 if bool(given.any()) else SHARE_TEST
    half = (1 - test) / 2
    shares = torch.tensor([half * (1 - held_out), half * held_out, half * (1 - held_out), half * held_out, test])
    wanted = shares[:, None] * counts[~given].sum(dim=0)
    place = torch.full((len(names),), SUBSETS.index("test"))
    placed = torch.zeros(len(SUBSETS), classes)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    order = order[counts[order].sum(dim=1).argsort(descending=True, stable=True)]
    for each in order[~given[order]].tolist():
        lacking = 1 - placed / wanted.clamp(min=1e-6)
        urgency = (lacking * counts[each]).sum(dim=1)
        subset = int(urgency.masked_fill(shares == 0, -torch.inf).argmax())
        place[each], placed[subset] = subset, placed[subset] + counts[each]
    subsets = [(place[group] == number).nonzero().flatten() for number in range(len(SUBSETS))]
    present = torch.stack([torch.bincount(labels[subset], minlength=classes) > 0 for subset in subsets]).all(dim=0)
    if not bool(present.any()):
        raise DataError(
            f"no class has images of enough groups: {len(names)} groups, of which each of {len(SUBSETS)} subsets needs "
            "one with every class; make groups smaller, or add images"
        )
    return Split(
        **{name: subset[present[labels[subset]]] for name, subset in zip(SUBSETS, subsets, strict=True)},
        too_few=tuple((~present).nonzero().flatten().tolist()),
    )


def hash_of(name: str) -> int:
    """A number of 63 bits for a name, the same in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
