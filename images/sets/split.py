"""The split that keeps what is judged apart from what judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

import torch
from torch import Tensor

from ...errors import DataError

SHARE_TEST = 0.15
SHARE_HELD_OUT = 0.1
MOST_HELD_OUT = 2000  # of which a share of right answers is known to within two percent

# One image for each of five parts, and some to spare where it counts, in the two that models are trained on.
FEWEST = 8
PARTS_TO_FIT = 4

Name = Literal["train", "held_out", "judge_train", "judge_held_out", "test"]

SPLIT_PARTS: Final[tuple[Name, ...]] = ("train", "held_out", "judge_train", "judge_held_out", "test")
"""The names of a `Split`'s five parts."""

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Split(Generic[T]):
    """A set of labelled images cut in five disjoint parts: their indices, or the images themselves.

    The explained classifier and the generative models see only `train`; hyper-parameters are chosen on
    `held_out`. The judges see only `judge_train` and are checked on `judge_held_out`. Nothing is chosen on `test`.

    Attributes:
        train, held_out, judge_train, judge_held_out, test: of each part, indices into the image set, (M,) int64, or
            whatever `map` made of them.
        too_few: the classes that are in none of them.
    """

    train: T
    held_out: T
    judge_train: T
    judge_held_out: T
    test: T
    too_few: tuple[int, ...] = ()

    def part(self, name: Name) -> T:
        """The part of this name."""
        return getattr(self, name)

    def map(self, function: Callable[[Name, T], U]) -> Split[U]:
        """The split of function(name, part) for each part."""
        made = {name: function(name, self.part(name)) for name in SPLIT_PARTS}
        return Split(**made, too_few=self.too_few)


def split_in_two(splits: Sequence[str], held_out: int = 2000, share: float = 0.5, seed: int = 0) -> Split[Tensor]:
    """Cut an image set's own training split into two disjoint worlds, each with a held-out part; the test split stays.

    Args:
        splits: N times "train" or "test".
        held_out: images that each world holds out.
        share: of the explained world; the rest is the judges'.
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
    """About `most` of the indices (M,) in their order, the same share of every class, but no class below `FEWEST`."""
    if len(indices) <= most:
        return indices
    chosen = torch.zeros(len(indices), dtype=torch.bool)
    for label in labels[indices].unique().tolist():
        own = (labels[indices] == label).nonzero().flatten()
        chosen[own[: max(FEWEST, round(len(own) * most / len(indices)))]] = True
    return indices[chosen]


def split_by_class(labels: Tensor, splits: Sequence[str], seed: int = 0, classes: int | None = None) -> Split[Tensor]:
    """Cut an image set in two halves (explained world, judges' world), each with a held-out part, and a test set.

    Every class is cut in the same shares, and is in every part with at least one image. The set's own test split is
    kept; of a class without images there, or of all classes of a set without one, 15 % are taken. Held out are 10 %
    of each half, but at most 2000 images, unless there are more classes than that. Left out are classes of fewer
    than 8 images, or of fewer than 4 outside the test split.

    Args:
        labels: (N,) int64.
        splits: N times "train", "test" or "".
        seed: of the choice.
        classes: K, where the last classes may be without images; None takes the highest label.

    Raises:
        DataError: no class has enough images.
    """
    generator = torch.Generator().manual_seed(seed)
    given = torch.tensor([split == "test" for split in splits], dtype=torch.bool)
    cuts: list[tuple[Tensor, Tensor, Tensor]] = []  # of each class: explained world, judges' world, test
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
        if len(own) < FEWEST or len(rest) < PARTS_TO_FIT:
            too_few.append(label)
            continue
        half = (len(rest) + 1) // 2
        cuts.append((rest[:half], rest[half:], test))
    if not cuts:
        raise DataError(
            f"no class has the {FEWEST} images, {PARTS_TO_FIT} of them outside the test split, that it takes "
            "to fit models and to judge them; add images"
        )
    worlds: list[list[Tensor]] = []
    for world in (0, 1):
        share = min(SHARE_HELD_OUT, MOST_HELD_OUT / sum(len(cut[world]) for cut in cuts))
        counts = [max(1, int(share * len(cut[world]))) for cut in cuts]
        held_out = torch.cat([cut[world][:count] for cut, count in zip(cuts, counts, strict=True)])
        fit = torch.cat([cut[world][count:] for cut, count in zip(cuts, counts, strict=True)])
        worlds.append([fit, held_out])
    test = torch.cat([cut[2] for cut in cuts])
    parts = [part[torch.randperm(len(part), generator=generator)] for part in (*worlds[0], *worlds[1], test)]
    return Split(
        train=parts[0],
        held_out=parts[1],
        judge_train=parts[2],
        judge_held_out=parts[3],
        test=parts[4],
        too_few=tuple(too_few),
    )
