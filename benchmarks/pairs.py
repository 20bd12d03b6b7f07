"""The questions of a run: images, what the classifier sees in them, and the classes asked for.

They are settled once, before any search: `draw` reads every image, asks the classifier, picks targets, and keeps
the images at the model's size in the run's directory. From then on a run needs nothing but itself.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..errors import DataError, ImageError, UsageError, reason_of, unknown_name
from ..files import write_text
from ..images.reading import find_images, read_image
from ..images.sets.labelled import Labelled
from ..images.writing import write_png
from .records import Seen

PAIRS = "pairs.jsonl"
POLICIES = ("random", "runner-up", "all")
READ_AT_ONCE = 256  # images


@dataclass(frozen=True)
class Pair:
    """One question.

    Attributes:
        pair: its number, from 0.
        input: the image as a user knows it.
        factual: what the classifier sees in it.
        target: the class asked for, another one.
        factual_image: PNG at the model's size, relative to the run's directory.
    """

    pair: int
    input: str
    factual: Seen
    target: str
    factual_image: str

    def as_json(self) -> str:
        """The question on one line."""
        return json.dumps(asdict(self), ensure_ascii=False)


class Inputs(Protocol):
    """Images to ask about, by number."""

    labels: Tensor | None
    """(N,) the true classes, where they are known: then only images that the classifier gets right are asked about."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def name(self, index: int) -> str:
        """What a user calls it."""
        ...

    def read(self, index: int) -> Tensor:
        """(C, H, W) in [0, 1]; raises ImageError where it cannot be read."""
        ...


class DataSetInputs:
    """The images of a data set."""

    def __init__(self, data: Labelled, name: str) -> None:
        self.data = data
        self.labels: Tensor | None = data.labels
        self._name = name

    def __len__(self) -> int:
        return len(self.data)

    def name(self, index: int) -> str:
        return f"{self._name} {index}"

    def read(self, index: int) -> Tensor:
        return self.data.floats(slice(index, index + 1))[0]


class FileInputs:
    """Image files, read as `cfx explain` reads them."""

    def __init__(self, paths: Sequence[Path], bundle: Bundle) -> None:
        self.paths = paths
        self.labels: Tensor | None = None
        self._bundle = bundle

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return str(self.paths[index])

    def read(self, index: int) -> Tensor:
        bundle = self._bundle
        return read_image(
            self.paths[index], bundle.shape, light_on_dark=bundle.light_on_dark, resize=bundle.resize
        ).pixels


@dataclass(frozen=True)
class Listed:
    """The rows of a targets file.

    Attributes:
        paths: the images, each once.
        asked: for each image its (line number, class index) pairs.
    """

    paths: list[Path]
    asked: list[list[tuple[int, int]]]


def read_targets(path: Path, classes: Sequence[str], directory: Path | None = None) -> Listed:
    """A CSV file of `image,target` rows, with or without that heading; targets by class name or index.

    Args:
        path: the CSV file.
        classes: names of the bundle's classes.
        directory: what relative image paths are relative to; the CSV file's directory if None.

    Raises:
        DataError: no such file, no rows, a row of another form, an unknown class, a missing image: with the line.
    """
    base = path.parent if directory is None else directory
    asked: dict[Path, list[tuple[int, int]]] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for row in reader:
                where = f"{path}: line {reader.line_num}"
                cells = [cell.strip() for cell in row]
                if not any(cells) or (not asked and cells == ["image", "target"]):
                    continue
                if len(cells) != 2:
                    raise DataError(f"{where}: {len(cells)} columns; expected two, image and target")
                image = base / cells[0]
                if not image.is_file():
                    raise DataError(f"{where}: {image}: no such file; image paths are relative to {base}")
                target = _class_index(cells[1], classes)
                if target is None:
                    raise DataError(f"{where}: {unknown_name('class', cells[1], classes)}")
                asked.setdefault(image, []).append((reader.line_num, target))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error}); expected rows of image,target") from error
    except OSError as error:
        raise DataError(
            f"--targets {path}: neither {', '.join(POLICIES)} nor a CSV file that can be read ({reason_of(error)})"
        ) from error
    if not asked:
        raise DataError(f"{path}: no rows; expected lines of image,target")
    return Listed(list(asked), list(asked.values()))


def _class_index(wanted: str, classes: Sequence[str]) -> int | None:
    if wanted in classes:
        return list(classes).index(wanted)
    return int(wanted) if wanted.isdecimal() and int(wanted) < len(classes) else None


def open_inputs(bundle: Bundle, images: str) -> FileInputs:
    """The images of a directory, a glob or a file.

    Raises:
        ImageError: there are none.
    """
    return FileInputs(find_images([images]), bundle)


class Drawing:
    """Settles the questions of a run.

    Args:
        bundle: brings the classifier and the classes.
        inputs: the images.
        directory: of the run.
        seed: of the order of the images and of random targets.
        report: told of an image that is left out, with the reason; and whether that is a fault of the input.
        advance: called for each image that was looked at.
    """

    def __init__(
        self,
        bundle: Bundle,
        inputs: Inputs,
        directory: Path,
        *,
        seed: int,
        report: Callable[[str, bool], None],
        advance: Callable[[], None] = lambda: None,
    ) -> None:
        self.bundle = bundle
        self.inputs = inputs
        self.directory = directory
        self.seed = seed
        self.report = report
        self.advance = advance
        self.pairs: list[Pair] = []

    def draw(self, targets: str | Listed, count: int | None) -> list[Pair]:
        """Write pairs.jsonl, and the factuals as images/factual/*.png.

        Args:
            targets: one of `POLICIES`, or what `read_targets` returned.
            count: most images; None for all. A smaller number is drawn at random, without replacement.

        Raises:
            DataError: no question is left.
        """
        generator = torch.Generator().manual_seed(self.seed)
        total, wanted = len(self.inputs), len(self.inputs) if count is None else count
        everything = isinstance(targets, Listed) or (wanted >= total and self.inputs.labels is None)
        order = torch.arange(total) if everything else torch.randperm(total, generator=generator)
        taken = 0
        for chosen in order.split(READ_AT_ONCE):
            for index, image, probabilities in self._looked_at(chosen.tolist()):
                if taken == wanted:
                    break
                if self._ask(index, image, probabilities, targets, taken):
                    taken += 1
                    self.advance()
            if taken == wanted:
                break
        if not self.pairs:
            raise DataError(f"no question to ask: none of the {total} images could be used; see the notes above")
        write_text(self.directory / PAIRS, "".join(pair.as_json() + "\n" for pair in self.pairs))
        return self.pairs

    def _looked_at(self, chosen: Iterable[int]) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Number, image and class probabilities (K,) of those that can be read."""
        indices, images = [], []
        for index in chosen:
            try:
                images.append(self.inputs.read(index))
                indices.append(index)
            except ImageError as error:
                self.report(str(error), True)
        if images:
            with torch.inference_mode():
                probabilities = self.bundle.classifier(torch.stack(images).to(self.bundle.device)).softmax(dim=1).cpu()
            if not torch.isfinite(probabilities).all():
                raise DataError(
                    f"bundle {self.bundle.name}: the classifier returned NaN or infinity; check its weights"
                )
            yield from zip(indices, images, probabilities, strict=True)

    def _ask(self, index: int, image: Tensor, probabilities: Tensor, targets: str | Listed, number: int) -> bool:
        """Add the questions about one image; whether there are any."""
        seen = int(probabilities.argmax())
        if self.inputs.labels is not None and seen != int(self.inputs.labels[index]):
            return False
        classes, name = self.bundle.classes, self.inputs.name(index)
        wanted = self._targets(index, seen, probabilities, targets)
        if not wanted:
            return False
        relative = f"images/factual/{number:06d}.png"
        write_png(self.directory / relative, image)
        factual = Seen(classes[seen], round(float(probabilities[seen]), 6))
        for target in wanted:
            self.pairs.append(Pair(len(self.pairs), name, factual, classes[target], relative))
        return True

    def _targets(self, index: int, seen: int, probabilities: Tensor, targets: str | Listed) -> list[int]:
        count = len(probabilities)
        if isinstance(targets, Listed):
            for line, target in targets.asked[index]:
                if target == seen:
                    name = self.bundle.classes[seen]
                    self.report(f"{self.inputs.name(index)} (line {line}): the model already sees {name}", False)
            return [target for _, target in targets.asked[index] if target != seen]
        present = set(self.bundle.present)
        others = [target for place in range(1, count) if (target := (seen + place) % count) in present]
        if targets == "all":
            return sorted(others)
        if targets == "runner-up":
            return [max(others, key=lambda target: float(probabilities[target]))]
        # One generator an image, so that a target does not depend on which other images could be read.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        return [others[int(torch.randint(len(others), (1,), generator=generator))]]


def read_pairs(directory: Path) -> list[Pair]:
    """The questions of the run in a directory.

    Raises:
        UsageError: there is no run.
        DataError: pairs.jsonl is damaged.
    """
    path = directory / PAIRS
    pairs: list[Pair] = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                fields = json.loads(line)
                pairs.append(Pair(**{**fields, "factual": Seen(**fields["factual"])}))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}: line {number} is not a question; start with another directory") from error
    except FileNotFoundError as error:
        raise UsageError(f"{directory}: no run there (no {PAIRS}); `cfx bench` makes one") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8; start with another directory") from error
    return pairs


def load_factuals(directory: Path, pairs: Sequence[Pair], bundle: Bundle) -> Tensor:
    """The factuals of some questions, (N, C, H, W) in [0, 1] on the bundle's device."""
    return load_pictures([directory / pair.factual_image for pair in pairs], bundle)


def load_pictures(paths: Sequence[Path], bundle: Bundle) -> Tensor:
    """PNG files at the model's size, (N, C, H, W) in [0, 1] on the bundle's device.

    Raises:
        ImageError: one is missing or damaged.
    """
    return torch.stack([read_image(path, bundle.shape).pixels for path in paths]).to(bundle.device)


def target_indices(pairs: Sequence[Pair], classes: Sequence[str], device: torch.device) -> Tensor:
    """The targets of some questions, (N,) int64."""
    places = {name: index for index, name in enumerate(classes)}
    return torch.tensor([places[pair.target] for pair in pairs], dtype=torch.int64, device=device)
