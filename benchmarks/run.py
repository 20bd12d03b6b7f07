"""A run of `cfx bench`, read once: its questions, and every answer that there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..answers.answer import Answer
from ..answers.question import Question
from ..errors import DataError
from ..reports.run import RECORDS, Manifest, RunDirectory
from .questions import QUESTIONS, read_questions


def run_directory(directory: Path) -> RunDirectory:
    """The directory of a run of `cfx bench`."""
    return RunDirectory(directory, QUESTIONS)


@dataclass
class Run:
    """An open run.

    Attributes:
        directory: where it lies.
        manifest: what was asked.
        questions: in their order.
        answers: in the order in which they were given.
        answered: for each engine, the numbers of the questions that have an answer.
    """

    directory: Path
    manifest: Manifest
    questions: list[Question]
    answers: list[Answer] = field(default_factory=list)
    answered: dict[str, set[int]] = field(default_factory=dict)

    @classmethod
    def load(cls, directory: Path) -> Run:
        """Open the run in a directory.

        Raises:
            UsageError: there is none.
            DataError: it is damaged.
        """
        run = cls(directory, Manifest.read(directory), read_questions(directory))
        for answer in run_directory(directory).answers():
            number = answer.question.number
            if number is None or not 0 <= number < len(run.questions):
                raise DataError(
                    f"{directory / RECORDS}: answers pair {number}, but there are only {len(run.questions)} questions; "
                    "start with another directory"
                )
            run._keep(answer)
        return run

    def append(self, answers: Sequence[Answer]) -> None:
        """Add answers, all in one write.

        Raises:
            OutputError: the disk is full or not writable.
        """
        run_directory(self.directory).append(answers)
        for answer in answers:
            self._keep(answer)

    def _keep(self, answer: Answer) -> None:
        assert answer.question.number is not None
        self.answers.append(answer)
        self.answered.setdefault(answer.engine, set()).add(answer.question.number)

    def has(self, engine: str, questions: Sequence[Question]) -> bool:
        """Whether an engine has answered all of these questions."""
        return self.answered.get(engine, set()).issuperset(question.number for question in questions)


def image_file(engine: str, number: int) -> str:
    """Where the picture of an answer is, relative to the run's directory."""
    return f"images/{engine}/{number:06d}.png"
