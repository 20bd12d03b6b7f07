"""The entries of bundle.toml about parts and engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..classifiers.foreign.contract import ForeignEntry
from ..documents import Table

Grade = Literal["good", "weak", "useless"]
"""How far a part can be trusted. Of a useless one nothing that is measured with it means anything."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a fit went, or all fits of a part together; in bundle.toml of a training within a time budget.

    Attributes:
        steps: that were made.
        planned: steps of the whole training.
        seconds: that it took.
        cut_short: whether it ended because its time was over.
    """

    steps: int
    planned: int
    seconds: float
    cut_short: bool

    @classmethod
    def from_json(cls, table: Table) -> Trained:
        """Read from the table `trained` of a part."""
        counts = {name: table.need(name, int) for name in ("steps", "planned")}
        return cls(**counts, seconds=table.need("seconds", float), cut_short=table.need("cut_short", bool))

    def __str__(self) -> str:
        return f"{'cut short: ' if self.cut_short else ''}{self.steps:,} of {self.planned:,} steps"


@dataclass(frozen=True, kw_only=True)
class PartEntry:
    """A part's entry in bundle.toml.

    Attributes:
        architecture: the class of its model.
        arguments: of that class.
        file: in the bundle's directory; None for a classifier that is code without weights of its own.
        sha256: of the file.
        measured: figures measured on images that it was not trained on, by name.
        verdict: how far these let the part be trusted; None if the part has no criterion.
        because: the reason, in a sentence.
        trained: how its training within a time budget went; None without a budget.
        foreign: how a user's classifier is opened again; None for cfx's own models.
    """

    architecture: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    file: str | None = None
    sha256: str | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    verdict: Grade | None = None
    because: str | None = None
    trained: Trained | None = None
    foreign: ForeignEntry | None = None

    @classmethod
    def from_json(cls, table: Table) -> PartEntry:
        """Read from the part's table in bundle.toml."""
        verdict = table.get("verdict", str)
        if verdict not in ("good", "weak", "useless", None):
            raise table.wrong("verdict", "good, weak or useless", verdict)
        foreign = ForeignEntry.from_json(table) if "kind" in table.values else None
        arguments, trained = table.table("arguments"), table.table("trained")
        return cls(
            architecture=table.get("architecture", str) or "Adapted" if foreign else table.need("architecture", str),
            arguments={} if arguments is None else arguments.values,
            file=table.get("file", str) if foreign else table.need("file", str),
            sha256=table.get("sha256", str) if foreign else table.need("sha256", str),
            measured=table.mapping("measured", float),
            verdict=verdict,
            because=table.get("because", str),
            trained=None if trained is None else Trained.from_json(trained),
            foreign=foreign,
        )

    def as_json(self) -> dict[str, object]:
        """The inverse of `from_json`, in the order of bundle.toml."""
        fields = without_none({"file": self.file, "sha256": self.sha256, "architecture": self.architecture})
        if self.foreign is not None:
            fields |= self.foreign.as_json()
        else:
            fields["arguments"] = dict(self.arguments)
        if self.measured:
            fields["measured"] = dict(self.measured)
        trained = None if self.trained is None else vars(self.trained)
        return fields | without_none({"trained": trained, "verdict": self.verdict, "because": self.because})


@dataclass(frozen=True, kw_only=True)
class TrialEntry:
    """What an engine was worth on some held-out questions, the same for all engines.

    Attributes:
        questions: their number.
        valid, judges_agree, looks_real: shares of them; None if it could not be measured.
        seconds: for each.
    """

    questions: int
    valid: float
    judges_agree: float | None
    looks_real: float | None
    seconds: float

    @classmethod
    def from_json(cls, table: Table) -> TrialEntry:
        """Read from the engine's table."""
        shares = {name: table.get(name, float) for name in ("judges_agree", "looks_real")}
        figures = {name: table.need(name, float) for name in ("valid", "seconds")}
        return cls(questions=table.need("questions", int), **shares, **figures)

    def as_json(self) -> dict[str, object]:
        """The inverse of `from_json`."""
        return without_none(vars(self))


@dataclass(frozen=True, kw_only=True)
class Reached:
    """How often a target was reached.

    Attributes:
        reached: number of questions whose answer was valid, and which the judge, if there is one, sees as the target.
        asked: number of questions.
    """

    reached: int
    asked: int

    @property
    def share(self) -> float:
        """The share of the questions."""
        return self.reached / self.asked

    def __str__(self) -> str:
        return f"{self.reached} of {self.asked}"


@dataclass(frozen=True, kw_only=True)
class ReachEntry:
    """How often an engine reached each class from each other one, with held-out images.

    Attributes:
        engine: its name.
        confidence: that was asked for.
        pairs: by the class seen in the image and the target.
    """

    engine: str
    confidence: float
    pairs: Mapping[tuple[int, int], Reached]

    @classmethod
    def from_json(cls, table: Table) -> ReachEntry:
        """Read from bundle.toml's table `reach`."""
        rows = table.rows("pairs", int, 4)
        if not all(0 <= reached <= asked and asked for _, _, asked, reached in rows):
            raise table.wrong("pairs", "lists of a class, a target, questions asked, and those reached", rows)
        pairs = {(seen, target): Reached(asked=asked, reached=reached) for seen, target, asked, reached in rows}
        return cls(engine=table.need("engine", str), confidence=table.need("confidence", float), pairs=pairs)

    def as_json(self) -> dict[str, object]:
        """The inverse of `from_json`; a pair is a list of the class seen, the target, questions, and those reached."""
        pairs = [[*pair, its.asked, its.reached] for pair, its in self.pairs.items()]
        return {"engine": self.engine, "confidence": self.confidence, "pairs": pairs}


def without_none(values: Mapping[str, object]) -> dict[str, object]:
    """The values that are not None, with tuples converted to lists."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items() if value is not None
    }
