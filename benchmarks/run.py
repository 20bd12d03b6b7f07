"""A run of `cfx bench` in memory: its manifest, its questions, and what became of them so far."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..answers.answer import Answer, Envelope
from ..answers.loop import Failed
from ..answers.question import Question
from ..documents import Table
from ..errors import DataError
from ..reports.summary import BundleName
from ..runs.directory import RECORDS, RunDirectory, RunKind
from ..runs.manifest import Manifest
from .questions import QUESTIONS, read_questions

Outcome = Answer | Failed
"""One record: an answer, or that there is none."""


def run_directory(directory: Path) -> RunDirectory[Outcome]:
    """The directory of a run of `cfx bench` at a path, to be written."""
    return RunDirectory(directory, RunKind("bench", Reader(None).read))


@dataclass
class Reader:
    """Reads the records of a run.

    Attributes:
        manifest: of the run, which has what its answers have in common; None reads it from the directory.
    """

    manifest: Manifest | None
    _envelopes: dict[str, Envelope] = field(default_factory=dict)

    def read(self, table: Table, run: RunDirectory[Outcome]) -> Outcome:
        """Make a record of a line of records.jsonl.

        Raises:
            DataError: it is none.
        """
        if "error" in table.values:
            return Failed.from_json(table)
        engine = table.need("engine", str)
        if engine not in self._envelopes:
            self.manifest = self.manifest or Manifest.read(run.path)
            self._envelopes[engine] = envelope_of(self.manifest, engine)
        return Answer.from_json(table, self._envelopes[engine], run.path)


def envelope_of(manifest: Manifest, engine: str) -> Envelope:
    """What the answers of one engine in a run have in common."""
    config = manifest.settings
    bundle, settings = BundleName.from_json(config.need_table("bundle")), config.tables("engines").get(engine)
    return Envelope(
        bundle=bundle.name,
        digest=bundle.digest,
        classifier=config.get("classifier", str) or "classifier",
        settings={} if settings is None else settings.values,
        confidence=config.need("confidence", float),
        device=config.need("device", str),
        seed=config.need("seed", int),
        style=config.get("style", str) or "minimal",
    )


@dataclass
class Run:
    """An open run.

    Attributes:
        directory: directory of the run.
        manifest: manifest of the run.
        questions: all questions, in order.
        answers: the answers so far, in the order of the records.
        failed: the questions on which an engine or a model failed, so that they have no answer.
        answered: the keys of the questions that need no more searches, by engine.
        recorded: the keys of all records.
    """

    directory: RunDirectory[Outcome]
    manifest: Manifest
    questions: list[Question]
    answers: list[Answer] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    answered: dict[str, set[tuple[str, ...]]] = field(default_factory=dict)
    recorded: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def path(self) -> Path:
        """The path of the directory."""
        return self.directory.path

    @property
    def engines(self) -> dict[str, Mapping[str, object]]:
        """The settings of the engines, by name."""
        return {name: table.values for name, table in self.manifest.settings.tables("engines").items()}

    @property
    def failures(self) -> dict[str, list[Failed]]:
        """The questions without even an attempt, by engine."""
        found: dict[str, list[Failed]] = {}
        for failed in self.failed:
            found.setdefault(failed.engine, []).append(failed)
        return found

    @property
    def batch_size(self) -> int:
        """The largest number of questions in a batch, which `auto` chose by the free memory."""
        return self.manifest.own.need("batch_size", int)

    @property
    def batch_sizes(self) -> Mapping[str, int]:
        """The smaller sizes that `auto` chose by the speed, by engine."""
        return self.manifest.own.mapping("batch_sizes", int)

    @classmethod
    def load(cls, path: Path) -> Run:
        """Open the run in a directory.

        Raises:
            UsageError: there is no run in the directory.
            DataError: the run is damaged.
        """
        manifest = Manifest.read(path)
        check_questions_file(path, manifest)
        directory = RunDirectory(path, RunKind("bench", Reader(manifest).read))
        run = cls(directory, manifest, read_questions(path))
        for record in directory.records():
            number = record.question.number
            if number is None or not 0 <= number < len(run.questions):
                raise DataError(
                    f"{path / RECORDS}: answers pair {number}, but there are only {len(run.questions)} questions; "
                    "start anew with --fresh"
                )
            run._keep(record)
        return run

    def append(self, records: Sequence[Outcome]) -> None:
        """Append records, all in one write.

        Raises:
            OutputError: the disk is full or not writable.
        """
        self.directory.append(records)
        for record in records:
            self._keep(record)

    def set_batch_size(self, engine: str, size: int) -> None:
        """Store the batch size of one engine, so that a resumed run searches in the same batches."""
        self.manifest = self.directory.update(self.manifest, batch_sizes={**self.batch_sizes, engine: size})

    def _keep(self, record: Outcome) -> None:
        self.recorded.add(record.key)
        if isinstance(record, Failed):
            self.failed.append(record)
        else:
            self.answers.append(record)
            key, engine = record.question.key, record.engine
            if any((*key, engine, str(place + 1)) not in self.recorded for place in range(record.of)):
                return
        self.answered.setdefault(record.engine, set()).add(record.question.key)

    def missing(self, engines: Iterable[str]) -> str | None:
        """What is missing from a run in which these engines should have answered every question; None if nothing."""
        total, gaps = len(self.questions), []
        for engine in engines:
            there = len(self.answered.get(engine, ()))
            if there < total:
                gaps.append(f"{engine} has {there} of {total}")
        return ", ".join(gaps) or None

    def has(self, engine: str, questions: Sequence[Question]) -> bool:
        """Whether an engine needs to search for none of these questions."""
        return self.answered.get(engine, set()).issuperset(question.key for question in questions)


def questions_file(path: Path) -> dict[str, object]:
    """Count and sha256 of the questions of a run, for its manifest; empty if there is no file of them."""
    try:
        content = (path / QUESTIONS).read_bytes()
    except FileNotFoundError:
        return {}
    return {"count": content.count(b"\n"), "sha256": hashlib.sha256(content).hexdigest()}


def check_questions_file(path: Path, manifest: Manifest) -> None:
    """Raise a DataError unless the questions are those that the run began with."""
    expected, found = manifest.own.table("questions"), questions_file(path)
    if expected is not None and dict(expected.values) != found:
        there = f"{found['count']} questions" if found else "no questions"
        raise DataError(
            f"{path / QUESTIONS}: not the file that the run began with ({there}, of "
            f"{expected.need('count', int)}); restore it, or start anew with --fresh"
        )


def image_file(engine: str, number: int, place: int = 1) -> str:
    """Path of an answer's counterfactual, relative to the run's directory."""
    return f"images/{engine}/{number:06d}{f'-{place}' if place > 1 else ''}.png"
