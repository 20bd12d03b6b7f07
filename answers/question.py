"""Questions: an image, what the classifier sees in it, and the class asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..errors import UsageError, unknown_name
from ..images.resizing import Placement
from .seen import Seen, probabilities_of, runners_up, seen_in


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an image comes from.

    Attributes:
        name: as a user knows it.
        photo: its file, where it is one.
        placement: where the image lies in its file.
        notes: what was done to it on reading.
    """

    name: str
    photo: Path | None = None
    placement: Placement | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Question:
    """One image and one class.

    Attributes:
        source: where the image comes from.
        factual: what the classifier sees in it.
        target: the class asked for, by name.
        number: of the question in a run, from 0; None outside of one.
        file: the image at the model's size, a PNG relative to a run's directory; None outside of one.
    """

    source: Source
    factual: Seen
    target: str
    number: int | None = None
    file: str | None = None

    @property
    def is_answered(self) -> bool:
        """Whether the classifier sees the target anyway."""
        return self.target == self.factual.name


@dataclass(frozen=True)
class QuestionBatch:
    """Questions that are asked together.

    Attributes:
        questions: N of them.
        images: (N, C, H, W) in [0, 1].
        targets: (N,) int64, their classes.
    """

    questions: Sequence[Question]
    images: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.questions)

    def only(self, rows: Sequence[int]) -> QuestionBatch:
        """Some of the questions."""
        return QuestionBatch([self.questions[row] for row in rows], self.images[list(rows)], self.targets[list(rows)])


def ask(bundle: Bundle, images: Tensor, sources: Sequence[Source], target: int | None) -> QuestionBatch:
    """Questions about images.

    Args:
        bundle: brings the classifier.
        images: (N, C, H, W) in [0, 1] on the bundle's device.
        sources: N of them.
        target: the class asked for; None takes each image's runner-up.

    Raises:
        ModelError: the classifier answers NaN or infinity.
    """
    probabilities = probabilities_of(bundle.classifier, images)
    targets = runners_up(probabilities, bundle)
    if target is not None:
        targets = torch.full_like(targets, target)
    factuals = seen_in(probabilities, bundle.classes)
    questions = [
        Question(source=source, factual=seen, target=bundle.classes[wanted])
        for source, seen, wanted in zip(sources, factuals, targets.tolist(), strict=True)
    ]
    return QuestionBatch(questions, images, targets)


def targets_of(questions: Sequence[Question], bundle: Bundle) -> Tensor:
    """The classes that questions ask for, (N,) int64 on the bundle's device."""
    return indices_of((question.target for question in questions), bundle)


def indices_of(names: Iterable[str], bundle: Bundle) -> Tensor:
    """Classes by name as indices, (N,) int64 on the bundle's device."""
    places = {name: index for index, name in enumerate(bundle.classes)}
    return torch.tensor([places[name] for name in names], dtype=torch.int64, device=bundle.device)


def class_index(wanted: str, classes: Sequence[str]) -> int | None:
    """The class of this name, else of this index; None if there is no such class."""
    if wanted in classes:
        return list(classes).index(wanted)
    return int(wanted) if wanted.isdecimal() and int(wanted) < len(classes) else None


def target_class(wanted: str, bundle: Bundle) -> int | None:
    """The class of this name, else of this index; None for "auto", each image's runner-up.

    Raises:
        UsageError: there is no such class, or none that the bundle's models have seen images of.
    """
    classes = bundle.classes
    index = class_index(wanted, classes)
    if index is None:
        if wanted == "auto":
            return None
        raise unknown_name("class", wanted, [*classes, "auto"])
    if index not in bundle.present:
        known = ", ".join(classes[label] for label in bundle.present)
        raise UsageError(
            f"class {classes[index]!r}: bundle {bundle.name} was trained without images of it and cannot draw it; "
            f"targets are {known}"
        )
    return index
