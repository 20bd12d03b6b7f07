"""Questions: an image, what the classifier sees in it, and the target class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..errors import UsageError, unknown_name
from ..images.resizing import Placement
from ..images.scale import Scale
from ..images.sets.labels import class_index
from .seen import Seen, probabilities_of, runners_up, seen_in


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an image comes from.

    Attributes:
        name: the name that messages use.
        photo: the image's file; None if it has none.
        sha256: digest of the file's content; None if it was not computed.
        placement: which area of the photo the image shows; None if it was not resized from one.
        notes: what was changed on reading.
        scale: what black and white are in the file, if it has more than 8 bits per channel; None for the bundle's own.
    """

    name: str
    photo: Path | None = None
    sha256: str | None = None
    placement: Placement | None = None
    notes: tuple[str, ...] = ()
    scale: Scale | None = None


@dataclass(frozen=True, kw_only=True)
class Question:
    """One image and one target class.

    Attributes:
        source: where the image comes from.
        factual: what the classifier sees in the image.
        target: name of the target class.
        number: index of the question in a run, from 0; None outside of a run.
        file: PNG of the image at the model's size, relative to the run's directory; None outside of a run.
        sha256: digest of the image's pixels; None outside of a run.
    """

    source: Source
    factual: Seen
    target: str
    number: int | None = None
    file: str | None = None
    sha256: str | None = None

    @property
    def is_already_met(self) -> bool:
        """Whether the classifier already sees the target in the factual."""
        return self.target == self.factual.name


@dataclass(frozen=True)
class QuestionBatch:
    """Questions that are searched together.

    Attributes:
        questions: the N questions.
        images: (N, C, H, W) in [0, 1].
        targets: (N,) int64, indices of the target classes.
    """

    questions: Sequence[Question]
    images: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.questions)

    def __add__(self, other: QuestionBatch) -> QuestionBatch:
        """Both batches as one."""
        if not len(self) or not len(other):
            return self if len(self) else other
        images, targets = torch.cat([self.images, other.images]), torch.cat([self.targets, other.targets])
        return QuestionBatch([*self.questions, *other.questions], images, targets)

    def only(self, rows: Sequence[int]) -> QuestionBatch:
        """The questions of these rows, in this order."""
        return QuestionBatch([self.questions[row] for row in rows], self.images[list(rows)], self.targets[list(rows)])


def ask(bundle: Bundle, images: Tensor, sources: Sequence[Source], target: int | None) -> QuestionBatch:
    """Make questions about images.

    Args:
        bundle: holds the classifier.
        images: (N, C, H, W) in [0, 1] on the bundle's device.
        sources: where the N images come from.
        target: index of the target class; None for each image's runner-up.

    Raises:
        ModelError: the classifier returns NaN or infinity.
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
    """The target classes of questions as indices, (N,) int64 on the bundle's device."""
    return indices_of((question.target for question in questions), bundle)


def indices_of(names: Iterable[str], bundle: Bundle) -> Tensor:
    """The indices of classes, (N,) int64 on the bundle's device."""
    places = {name: index for index, name in enumerate(bundle.classes)}
    return torch.tensor([places[name] for name in names], dtype=torch.int64, device=bundle.device)


def target_class(wanted: str, bundle: Bundle) -> int | None:
    """The index of a class that is given by name or index; None for "auto", each image's runner-up.

    Raises:
        UsageError: there is no such class, or the bundle was trained without images of it.
    """
    classes = bundle.classes
    index = class_index(wanted, classes)
    if index is None:
        if wanted == "auto":
            return None
        raise unknown_name("class", wanted, [*classes, "auto"])
    if index not in bundle.present and not bundle.is_alone:
        known = ", ".join(classes[label] for label in bundle.present)
        raise UsageError(
            f"class {classes[index]!r}: bundle {bundle.name} was trained without images of it; choose one of {known}"
        )
    return index
