"""Questions: an image, what the classifier sees in it, and the target class; `asking.py` makes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..documents import Table
from ..images.resizing import Placement
from ..images.scale import Scale
from .region import Within, stacked
from .seen import Seen
from .wanted import GoalName, goal_of
from .wording import with_article


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
        target: name of the target class; of several, the likeliest one until the question is answered, then that of
            the answer.
        goal: as in `Wanted`.
        asked: what is asked for in words, the end of "what would make this ...?"; empty for the target.
        among: names of the classes of which any will do; empty for the target alone.
        within: where the image may change; None: everywhere.
        finds_region: whether `within` is where a first search without it changes most.
        number: index of the question in a run, from 0; None outside of a run.
        file: PNG of the image at the model's size, relative to the run's directory; None outside of a run.
        sha256: digest of the image's pixels; None outside of a run.
    """

    source: Source
    factual: Seen
    target: str
    goal: GoalName = "target"
    asked: str = field(default="", compare=False)
    among: tuple[str, ...] = ()
    within: Within | None = field(default=None, compare=False)
    finds_region: bool = False
    number: int | None = None
    file: str | None = None
    sha256: str | None = None

    @classmethod
    def from_json(cls, table: Table) -> Question:
        """Read a question from a line of a run: of its questions, or of its records.

        Raises:
            DataError: a field is missing or has the wrong type.
        """
        return cls(
            source=Source(name=table.need("input", str)),
            factual=Seen.from_json(table.need_table("factual")),
            target=table.need("target", str),
            goal=goal_of(table),
            among=table.several("among", str) or (),
            number=table.get("pair", int),
            file=table.mapping("files", str).get("factual"),
            sha256=table.get("sha256", str),
        )

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the classes of which any will do."""
        return self.among or (self.target,)

    @property
    def wording(self) -> str:
        """What is asked for, the end of "what would make this ...?"."""
        return self.asked or with_article(self.target)

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies it in a run: the image by its name, the goal, and the targets."""
        return self.source.name, self.goal, ", ".join(self.targets)

    def is_met(self, confidence: float) -> bool:
        """Whether the classifier sees one of the targets in the factual already, and is sure enough of it."""
        return self.factual.name in self.targets and self.factual.confidence >= confidence


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

    @property
    def region(self) -> Tensor | None:
        """The pixels that may change, (N, 1, H, W) bool; None: all."""
        return stacked([question.within for question in self.questions], self.images)

    def __add__(self, other: QuestionBatch) -> QuestionBatch:
        """Both batches as one."""
        if not len(self) or not len(other):
            return self if len(self) else other
        images, targets = torch.cat([self.images, other.images]), torch.cat([self.targets, other.targets])
        return QuestionBatch([*self.questions, *other.questions], images, targets)

    def only(self, rows: Sequence[int]) -> QuestionBatch:
        """The questions of these rows, in this order."""
        return QuestionBatch([self.questions[row] for row in rows], self.images[list(rows)], self.targets[list(rows)])


def targets_of(questions: Sequence[Question], bundle: Bundle) -> Tensor:
    """The target classes of questions as indices, (N,) int64 on the bundle's device."""
    return indices_of((question.target for question in questions), bundle)


def indices_of(names: Iterable[str], bundle: Bundle) -> Tensor:
    """The indices of classes, (N,) int64 on the bundle's device."""
    places = {name: index for index, name in enumerate(bundle.classes)}
    return torch.tensor([places[name] for name in names], dtype=torch.int64, device=bundle.device)
