"""A run of `cfx bench` in memory: its manifest, its questions, and the answers so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..answers.answer import Answer
from ..answers.question import Question
from ..errors import DataError
from ..runs.directory import RECORDS, RunDirectory
from ..runs.manifest import Manifest
from .questions import QUESTIONS, read_questions


def run_directory(directory: Path) -> RunDirectory:
    """The run directory of `cfx bench` at a path."""
    return RunDirectory(directory, QUESTIONS)


@dataclass
class Run:
    """An open run.

    Attributes:
        directory: directory of the run.
        manifest: manifest of the run.
        questions: all questions, in order.
        answers: the answers so far, in the order of the records.
        answered: numbers of the questions to which all answers are there, by engine.
        recorded: engine, question and place of each answer.
    """

    directory: Path
    manifest: Manifest
    questions: list[Question]
    answers: list[Answer] = field(default_factory=list)
    answered: dict[str, set[int]] = field(default_factory=dict)
    recorded: set[tuple[str, int, int]] = field(default_factory=set)

    @property
    def engines(self) -> dict[str, Mapping[str, object]]:
        """The settings of the engines, by name."""
        return {name: table.values for name, table in self.manifest.settings.tables("engines").items()}

    @classmethod
    def load(cls, directory: Path) -> Run:
        """Open the run in a directory.

        Raises:
            UsageError: there is no run in the directory.
            DataError: the run is damaged.
        """
        run = cls(directory, run_directory(directory).manifest(), read_questions(directory))
        for answer in run_directory(directory).answers():
            number = answer.question.number
            if number is None or not 0 <= number < len(run.questions):
                raise DataError(
                    f"{directory / RECORDS}: answers pair {number}, but there are only {len(run.questions)} questions; "
                    "start anew with --fresh"
                )
            run._keep(answer)
        return run

    def append(self, answers: Sequence[Answer]) -> None:
        """Append answers, all in one write.

        Raises:
            OutputError: the disk is full or not writable.
        """
        run_directory(self.directory).append(answers)
        for answer in answers:
            self._keep(answer)

    def set_batch_size(self, engine: str, size: int) -> None:
        """Store the batch size of one engine, so that a resumed run searches in the same batches."""
        self.manifest = run_directory(self.directory).set_batch_size(self.manifest, engine, size)

    def _keep(self, answer: Answer) -> None:
        number = answer.question.number
        assert number is not None
        self.answers.append(answer)
        self.recorded.add((answer.engine, number, answer.place))
        if all((answer.engine, number, place + 1) in self.recorded for place in range(answer.of)):
            self.answered.setdefault(answer.engine, set()).add(number)

    def missing(self, engines: Iterable[str]) -> str | None:
        """What is missing from a run in which these engines should have answered every question; None if nothing."""
        total, gaps = len(self.questions), []
        for engine in engines:
            there = len(self.answered.get(engine, ()))
            if there < total:
                gaps.append(f"{engine} has {there} of {total}")
        return ", ".join(gaps) or None

    def has(self, engine: str, questions: Sequence[Question]) -> bool:
        """Whether an engine has answered all of these questions."""
        return self.answered.get(engine, set()).issuperset(question.number for question in questions)


def image_file(engine: str, number: int, place: int = 1) -> str:
    """Path of an answer's counterfactual, relative to the run's directory."""
    return f"images/{engine}/{number:06d}{f'-{place}' if place > 1 else ''}.png"
