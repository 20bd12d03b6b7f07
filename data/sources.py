"""Whatever labelled images a user has, as one kind of image set; and its cut into what is fitted and what judges."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from .datasets import Labelled
from .errors import DataError
from .images import LEAST_CONTRAST
from .source_files import open_folders, open_table
from .source_hf import open_hf
from .source_labels import read_classes
from .source_named import NAMES, is_named, open_named
from .source_set import ImageSet, Loaded, Survey, bytes_needed

__all__ = [
    "ImageSet",
    "Loaded",
    "Parts",
    "Survey",
    "bytes_needed",
    "looks_light_on_dark",
    "open_images",
    "read_classes",
    "sample_by_class",
    "split_by_class",
]

DARK = 64  # of 255
SHARE_DARK = 0.9

SHARE_TEST = 0.15
SHARE_HELD_OUT = 0.1
MOST_HELD_OUT = 2000  # of which a share of right answers is known to within two percent

# One image for each of five parts, and some to spare where it counts, in the two that are fitted.
FEWEST = 8
PARTS_TO_FIT = 4


class Parts(TypedDict):
    """Indices into an image set, (M,) int64 each, disjoint and in random order; as `datasets.Split`.

    `too_few` lists the classes that are in none of them.
    """

    fit: Tensor
    held_out: Tensor
    judge_fit: Tensor
    judge_held_out: Tensor
    test: Tensor
    too_few: list[int]


def sample_by_class(labels: Tensor, indices: Tensor, most: int) -> Tensor:
    """About `most` of the indices (M,) in their order, the same share of every class, but no class below `FEWEST`."""
    if len(indices) <= most:
        return indices
    chosen = torch.zeros(len(indices), dtype=torch.bool)
    for label in labels[indices].unique().tolist():
        own = (labels[indices] == label).nonzero().flatten()
        chosen[own[: max(FEWEST, round(len(own) * most / len(indices)))]] = True
    return indices[chosen]


def open_images(spec: str, *, root: Path | None = None, classes: Sequence[str] | None = None) -> ImageSet:
    """Find labelled images, without reading them.

    Args:
        spec: a directory with one folder for each class (perhaps below train/ and test/); a .csv or .tsv file with
            columns path, label and perhaps split; one of torchvision's data sets, such as mnist, emnist-letters or
            celeba:Smiling; or hf:NAME[@CONFIG] or hf:DIRECTORY for Hugging Face's datasets.
        root: where torchvision's data sets lie.
        classes: K class names in the order of the classifier's logits, to which labels are mapped by name; without
            them, the names found, sorted (whole numbers as numbers), or the data set's own order.

    Raises:
        DataError: nothing of that name is there, or it is malformed; names the file and the line.
        UsageError: a data set of torchvision's without `root`, or a part of it that is unknown.
    """
    if spec.startswith("hf:"):
        return open_hf(spec[3:], classes)
    if is_named(spec):
        return open_named(spec, root, classes)
    path = Path(spec).expanduser()
    if path.is_dir():
        return open_folders(path, classes)
    if path.suffix.lower() in (".csv", ".tsv") and path.exists():
        return open_table(path, classes)
    if path.exists():
        raise DataError(f"{spec}: neither a directory nor a .csv or .tsv file; labelled images come as one of these")
    near = get_close_matches(spec.lower(), NAMES, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise DataError(
        f"{spec}: no such directory or file, and no data set of that name; {hint}known are hf:NAME, {', '.join(NAMES)}"
    )


def looks_light_on_dark(data: Labelled) -> bool:
    """Whether images are light strokes on a dark ground, as MNIST's; never of images in colour."""
    if data.images.shape[1] != 1 or not len(data):
        return False
    sample = data.images[torch.linspace(0, len(data) - 1, min(500, len(data))).long(), 0]
    edge = torch.ones(sample.shape[1:], dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    ground = sample[:, edge].median(dim=1).values.int()
    lightest = sample.flatten(1).amax(dim=1).int()
    return bool(((ground < DARK) & (lightest > ground + LEAST_CONTRAST)).float().mean() >= SHARE_DARK)


def split_by_class(labels: Tensor, splits: Sequence[str], seed: int = 0, classes: int | None = None) -> Parts:
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
    return Parts(
        fit=parts[0],
        held_out=parts[1],
        judge_fit=parts[2],
        judge_held_out=parts[3],
        test=parts[4],
        too_few=too_few,
    )
