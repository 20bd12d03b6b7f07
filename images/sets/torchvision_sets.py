"""The data sets that torchvision provides by name, in torchvision's directory layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import DataError, UsageError, unknown_name
from .idx import idx_fault, idx_names
from .image_set import ImageSet
from .labels import labelled, settled
from .pictures import ArrayPictures, FilePictures

IDX = tuple(idx_names())
EMNIST_SPLITS = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")


@dataclass(frozen=True)
class Kept:
    """How torchvision stores a data set.

    Attributes:
        kind: the name of its class in torchvision.datasets.
        folder: the folder of its files, relative to the root.
        arguments: returns the arguments of that class for the training split (True) or the test split (False).
        read: returns the images (N, C, H, W) uint8, the labels (N,) and the class names of an instance.
        files: names of its IDX files; empty for another format.
    """

    kind: str
    folder: str
    arguments: Callable[[bool], Mapping[str, bool | str]]
    read: Callable[[Any], tuple[Tensor, Tensor, Sequence[str]]]
    files: tuple[str, ...] = ()


def _grey(found: Any) -> tuple[Tensor, Tensor, Sequence[str]]:
    names: Sequence[str] = found.classes
    if names[0] == "0 - zero":  # MNIST; cfx and most classifiers name its classes by plain digits
        names = [name[0] for name in names]
    return found.data.unsqueeze(1), found.targets.long(), names


def _emnist(found: Any) -> tuple[Tensor, Tensor, Sequence[str]]:
    images, labels, names = _grey(found)
    # torchvision counts the letters from 1; class 0 has no images and is called N/A
    return (images, labels - 1, names[1:]) if names[0] == "N/A" else (images, labels, names)


def _cifar(found: Any) -> tuple[Tensor, Tensor, Sequence[str]]:
    return torch.from_numpy(found.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(found.targets), found.classes


def _svhn(found: Any) -> tuple[Tensor, Tensor, Sequence[str]]:
    return (
        torch.from_numpy(found.data).contiguous(),
        torch.from_numpy(found.labels),
        [str(digit) for digit in range(10)],
    )


def _kept(name: str) -> Kept | None:
    if name.startswith(("emnist-", "emnist:")) and name[7:] in EMNIST_SPLITS:
        split = name[7:]
        files = tuple(idx_names(f"emnist-{split}-", "test"))
        return Kept("EMNIST", "EMNIST/raw", lambda train: {"split": split, "train": train}, _emnist, files)
    return {
        "mnist": Kept("MNIST", "MNIST/raw", _by_train, _grey, IDX),
        "fashion-mnist": Kept("FashionMNIST", "FashionMNIST/raw", _by_train, _grey, IDX),
        "kmnist": Kept("KMNIST", "KMNIST/raw", _by_train, _grey, IDX),
        "cifar10": Kept("CIFAR10", "cifar-10-batches-py", _by_train, _cifar),
        "cifar100": Kept("CIFAR100", "cifar-100-python", _by_train, _cifar),
        "svhn": Kept("SVHN", "", lambda train: {"split": "train" if train else "test"}, _svhn),
    }.get(name)


def _by_train(train: bool) -> dict[str, bool | str]:
    return {"train": train}


NAMES = (
    *("mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100", "svhn", "celeba:ATTRIBUTE"),
    *(f"emnist-{split}" for split in EMNIST_SPLITS),
)


def name_in_torchvision(name: str) -> str:
    """The class in torchvision.datasets that reads a data set of `NAMES`; KeyError if there is none."""
    kept = _kept(name)
    if kept is None:
        raise KeyError(name)
    return kept.kind


def is_named(spec: str) -> bool:
    """Whether `spec` names one of torchvision's data sets, possibly with a wrong split or attribute."""
    return _kept(spec.lower()) is not None or spec.lower().split(":")[0] in ("celeba", "emnist")


def open_named(spec: str, root: Path | None, classes: Sequence[str] | None) -> ImageSet:
    """Open one of torchvision's data sets, as torchvision reads it (which leaves EMNIST's images transposed).

    Raises:
        UsageError: no root is given; the split of EMNIST or the attribute of CelebA is missing or unknown.
        DataError: the files are not below `root`; the message names the expected folder.
    """
    name, _, variant = spec.partition(":")
    name = name.lower()
    if root is None:
        raise UsageError(f"{spec}: give the directory of torchvision's data sets")
    if name == "celeba":
        return _open_celeba(spec, variant, root, classes)
    kept = _kept(spec.lower())
    if kept is None:
        raise unknown_name("split of EMNIST", variant, EMNIST_SPLITS)
    from torchvision import datasets  # takes a second to import, and is rarely needed

    folder = root / kept.folder
    found: list[tuple[Tensor, Tensor, Sequence[str]]] = []
    fault = idx_fault(folder, [*kept.files]) if folder.is_dir() and kept.files else None
    if fault is not None:
        raise DataError(f"{root}: {kept.kind} cannot be read: {fault}")
    for train in (True, False):
        try:
            opened = getattr(datasets, kept.kind)(root=str(root), **kept.arguments(train), download=False)
            found.append(kept.read(opened))
        except RuntimeError as error:
            beside = f"; for the directory of that name here give ./{spec}" if Path(spec).is_dir() else ""
            damaged = ", or a damaged one" if folder.is_dir() else ""
            raise DataError(
                f"{root}: no {kept.kind} there{damaged}; expected the files that torchvision keeps in {folder}{beside}"
            ) from error
        except ImportError as error:
            raise DataError(f"{spec}: reading it needs SciPy; install it with: pip install scipy") from error
        except Exception as error:  # each format fails differently on a truncated file
            raise DataError(f"{folder}: {kept.kind} is damaged ({error}); download it again") from error
    (images, labels, own), (more_images, more_labels, _) = found
    every: list[int] = torch.cat([labels, more_labels]).tolist()
    names = [own[label] for label in every]
    targets, known = labelled(spec, names, classes or own, list(own), "class")
    splits = ("train",) * len(labels) + ("test",) * len(more_labels)
    return ImageSet(spec, known, targets, splits, ArrayPictures(torch.cat([images, more_images])))


def _open_celeba(spec: str, attribute: str, root: Path, classes: Sequence[str] | None) -> ImageSet:
    """Two classes by one of CelebA's 40 attributes; needs only the images and these two lists."""
    folder = root / "celeba"
    try:
        lines = (folder / "list_attr_celeba.txt").read_text(encoding="utf-8").splitlines()
        words = (folder / "list_eval_partition.txt").read_text(encoding="utf-8").split()
        if not (folder / "img_align_celeba").is_dir():
            raise FileNotFoundError
    except OSError as error:
        raise DataError(
            f"{root}: no CelebA there; expected list_attr_celeba.txt, list_eval_partition.txt and "
            f"the folder img_align_celeba in {folder}"
        ) from error
    attributes = lines[1].split() if len(lines) > 1 else []
    if attribute not in attributes:
        raise unknown_name("attribute of CelebA", attribute, attributes)
    column = attributes.index(attribute) + 1
    rows = [line.split() for line in lines[2:] if line.strip()]
    partition = dict(zip(words[::2], words[1::2], strict=False))
    if any(len(row) <= column or row[0] not in partition for row in rows):
        raise DataError(f"{folder}: list_attr_celeba.txt and list_eval_partition.txt do not match; download them again")
    own = (f"not {attribute}", attribute)
    names = [own[row[column] == "1"] for row in rows]
    targets, known = labelled(spec, names, classes or own, own, "class")
    # 0 is training, 1 validation, 2 test
    splits = settled([("train", "val", "test")[int(partition[row[0]])] for row in rows])
    return ImageSet(spec, known, targets, splits, FilePictures([folder / "img_align_celeba" / row[0] for row in rows]))
