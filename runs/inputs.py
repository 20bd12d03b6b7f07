"""What a run asks about: the images of a data set or of files, and the rows of a targets file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..answers.policies import POLICIES
from ..answers.targets import ListedTargets
from ..answers.wanted import label_of
from ..bundles.bundle import Bundle
from ..bundles.own_images import images_for_testing
from ..errors import DataError, UsageError, few, unknown_name
from ..files import expanded
from ..images.finding import find_images
from ..images.reading import scale_of
from ..images.scale import Scale
from ..images.sets.ids import found_by_id
from ..images.sets.labelled import Labelled
from ..images.sets.labels import class_index
from ..images.sets.rows import read_rows


class Inputs(Protocol):
    """Images to ask about, by index."""

    labels: Tensor | None
    """The true classes (N,), if known."""
    scale: Scale | None
    """What black and white are in files with more than 8 bits per channel; None: nothing is to be decided."""
    notes: list[str]
    """What the user should know about the images."""

    def __len__(self) -> int:
        """The number of images."""
        ...

    def name(self, index: int) -> str:
        """The name of an image, by which records know it, whatever else can be read."""
        ...

    def read(self, index: int) -> Tensor:
        """Read an image, (C, H, W) in [0, 1]; raises ImageError if it cannot be read."""
        ...

    def digest(self) -> str:
        """The sha256 of the content of all images and labels, whatever their names."""
        ...


class DataSetInputs:
    """The images of a data set."""

    def __init__(self, data: Labelled, name: str) -> None:
        self.data = data
        self.labels: Tensor | None = data.labels
        self.scale: Scale | None = None
        self.notes: list[str] = []
        self._name = name

    def __len__(self) -> int:
        return len(self.data)

    def name(self, index: int) -> str:
        return f"{self._name} {index}"

    def read(self, index: int) -> Tensor:
        return self.data.floats(slice(index, index + 1))[0]

    def digest(self) -> str:
        total = hashlib.sha256()
        for values in (self.data.images, self.data.labels):
            total.update(f"{tuple(values.shape)} {values.dtype}\n".encode())
            total.update(values.contiguous().numpy().data)
        return total.hexdigest()


class FileInputs:
    """Image files, which are read as `cfx explain` reads them."""

    def __init__(self, paths: Sequence[Path], bundle: Bundle, window: tuple[float, float] | None = None) -> None:
        """Raises ImageError if it cannot be told what white is in images with more than 8 bits per channel."""
        self.paths = paths
        self.labels: Tensor | None = None
        self.scale = bundle.scale if window is None else Scale(*window, clips=True)
        self.notes: list[str] = []
        self._bundle = bundle
        if self.scale is None:
            self.scale, says = scale_of(paths)
            self.notes += filter(None, [says])

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return str(self.paths[index])

    def read(self, index: int) -> Tensor:
        return self._bundle.read(self.paths[index], scale=self.scale).pixels

    def digest(self) -> str:
        total = hashlib.sha256()
        for path in self.paths:
            try:
                with open(path, "rb") as file:
                    total.update(hashlib.file_digest(file, "sha256").digest())
            except OSError:  # `read` says why
                total.update(b"unreadable")
        if self.labels is not None:
            total.update(self.labels.numpy().data)
        return total.hexdigest()


class TargetRow(NamedTuple):
    """A row of a targets file: its place, for messages, the image file, and the class as it is written."""

    where: str
    line: int
    image: Path
    target: str

    def label(self, classes: Sequence[str]) -> int:
        """The index of the class; raises DataError if there is no such class."""
        try:
            found = class_index(self.target, classes)
        except UsageError as error:  # ambiguous
            raise DataError(f"{self.where}: {error}") from error
        if found is None:
            raise DataError(f"{self.where}: {unknown_name('class', self.target, classes)}")
        return found


def target_rows(path: Path, directory: Path | None = None) -> list[TargetRow]:
    """Read a CSV file of `image,target` rows, with or without a heading.

    Args:
        path: the CSV file.
        directory: directory that image paths are relative to; None for the CSV file's.

    Raises:
        DataError: the file is missing or has no rows; or a row has another form or a missing image.
    """
    base = path.parent if directory is None else directory
    found: list[TargetRow] = []
    if not path.is_file():
        raise DataError(f"--targets {path}: neither {', '.join(POLICIES)} nor a CSV file that can be read")
    rows = read_rows(path)
    heading = [cell.lower() for cell in rows[0].cells] if rows else []
    image_at, target_at = 0, 1
    if sorted(heading) in (["image", "target"], ["image", "label"]):
        image_at = heading.index("image")
        target_at = 1 - image_at
        rows = rows[1:]
    wrong: dict[int, str] = {}
    for row in rows:
        where = f"{path}: line {row.line}"
        if len(row.cells) != 2:
            wrong[row.line] = f"{where}: {len(row.cells)} columns; expected two, image and target"
            continue
        found.append(TargetRow(where, row.line, base / row.cells[image_at], row.cells[target_at]))
    places = [place for place, row in enumerate(found) if not row.image.is_file()]
    ids = [os.path.relpath(found[place].image, base) for place in places]
    by_id = {} if not places else found_by_id(base, ids, str(path), elsewhere=len(ids) == len(found))[0]
    for number, place in enumerate(places):
        row = found[place] = found[place]._replace(image=by_id.get(number, found[place].image))
        if number not in by_id:
            wrong[row.line] = f"{row.where}: {row.image}: no such file; image paths are relative to {base}"
    check_rows(dict(sorted(wrong.items())))
    if not found:
        raise DataError(f"{path}: no rows; expected lines of image,target")
    return found


def read_targets(path: Path, classes: Sequence[str], directory: Path | None = None) -> tuple[list[Path], ListedTargets]:
    """Read a CSV file of targets, which are class names or indices; arguments and errors as in `target_rows`.

    Returns:
        The image files, each once, and what is asked of each; what is asked twice is asked once.

    Raises:
        DataError: a class is unknown.
    """
    asked: dict[Path, list[tuple[int, int]]] = {}
    wrong: dict[int, str] = {}
    for row in target_rows(path, directory):
        try:
            rows = asked.setdefault(row.image, [])
            label = row.label(classes)
            if label not in (target for _, target in rows):
                rows.append((row.line, label))
        except DataError as error:
            wrong[row.line] = str(error)
    check_rows(wrong)
    return list(asked), ListedTargets([*asked.values()])


def check_rows(wrong: Mapping[int, str]) -> None:
    """Raise a `DataError` if rows of a file are wrong: what is wrong with the first, and the lines of the others."""
    if wrong:
        (_, first), *others = wrong.items()
        lines, s = few([str(line) for line, _ in others]), "s" if len(others) > 1 else ""
        more = f" (and {len(others)} more wrong row{s}: line{s} {lines})" if others else ""
        raise DataError(first + more)


def check_trained(listed: ListedTargets, bundle: Bundle, name: str) -> None:
    """Raise a DataError if a row of a file names a class of which the bundle's models have seen no image."""
    check_rows(
        {
            line: f"{name}: line {line}: bundle {bundle.name} was trained without images of {bundle.classes[target]!r}"
            for rows in listed.asked
            for line, target in rows
            if target not in bundle.present
        }
    )


def open_inputs(
    bundle: Bundle, images: str, *, recursive: bool = False, window: tuple[float, float] | None = None, labelled: bool
) -> FileInputs:
    """Find the images of a directory, a glob or a file.

    Args:
        bundle: gives the shape and the classes.
        images: the directory, glob or file; where labels are wanted also a CSV file of image and class.
        recursive: also look into directories inside.
        window: values that mean black and white in files with more than 8 bits per channel; None to find out.
        labelled: whether labels are wanted; without a CSV file, the images lie in a folder for each class.

    Raises:
        ImageError: there are no images, or it cannot be told what white is.
        UsageError: an image is to be labelled, and its folder has the name of no class.
        DataError: as `read_targets`.
    """
    if labelled and images.lower().endswith(".csv"):
        path = expanded(images)
        if not path.is_file():
            raise DataError(f"--images {path}: no such file; give a folder for each class, or a CSV of image,label")
        paths, listed = read_targets(path, bundle.classes)
        check_trained(listed, bundle, str(path))
        several = [str(path) for path, rows in zip(paths, listed.asked, strict=True) if len(rows) > 1]
        if several:
            raise DataError(f"{images}: {few(several)}: more than one class; an image has one label")
        inputs = FileInputs(paths, bundle, window)
        inputs.labels = torch.tensor([rows[0][1] for rows in listed.asked])
        return inputs
    found = find_images([images], recursive=recursive or labelled)
    inputs = FileInputs(found.paths, bundle, window)
    inputs.notes += found.notes
    if labelled:
        inputs.labels = torch.tensor([label_of(str(path), path, bundle).classes[0] for path in found.paths])
    return inputs


def own_inputs(bundle: Bundle, shipped: Callable[[], Labelled]) -> DataSetInputs:
    """The images that a bundle is tested on, where a user names none.

    Args:
        bundle: one that keeps a share of its images for tests, or a shipped one.
        shipped: opens the test images of the data set that a shipped bundle was trained on.

    Raises:
        UsageError, DataError: as `shipped`.
    """
    own = images_for_testing(bundle)
    data = shipped() if own is None else Labelled(own.images, bundle.labelling.classes_of(own.labels))
    return DataSetInputs(data, f"{bundle.name} test")
