"""The one loop around engines: answers batches of questions, whatever fails and however little memory there is."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch

from ..bundles.bundle import Bundle
from ..counterfactuals.engine import Engine
from ..counterfactuals.problem import BrokenEngine, ModelError, NothingToOffer
from ..documents import Table
from ..memory import is_out_of_memory
from ..progress import SILENT
from .answer import Answer
from .bisecting import bisected
from .pipeline import AnswerOptions, answer_batch
from .question import Question, QuestionBatch

BATCH_SIZE = 256  # questions

Fault = Literal["model", "engine", "nothing-to-offer"]


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One question that an engine has answered.

    Attributes:
        question: the question.
        engine: name of the engine.
        answers: its answers, one or several.
    """

    question: Question
    engine: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """One question on which an engine or a model failed, so that there is not even an attempt.

    Attributes:
        question: the question.
        engine: name of the engine.
        reason: what failed, without the image's name.
        fault: a "model" returned unusable output, the "engine" failed, or it has "nothing-to-offer".
    """

    question: Question
    engine: str
    reason: str
    fault: Fault = "model"

    @classmethod
    def of(cls, question: Question, engine: str, error: ModelError) -> Failed:
        """The failure that an error means."""
        nothing, broken = isinstance(error, NothingToOffer), isinstance(error, BrokenEngine)
        fault = "nothing-to-offer" if nothing else "engine" if broken else "model"
        return cls(question=question, engine=engine, reason=str(error), fault=fault)

    def __str__(self) -> str:
        return f"{self.question.source.name}: engine {self.engine}: {self.reason}"

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies the record in a run; different from the keys of answers."""
        return (*self.question.key, self.engine, "failed")

    def as_json(self) -> dict[str, object]:
        """The JSON object in the records of a run."""
        question = self.question
        return {
            **({} if question.number is None else {"pair": question.number}),
            "input": question.source.name,
            "engine": self.engine,
            "goal": question.goal,
            "target": question.target,
            **({"among": list(question.among)} if question.among else {}),
            "factual": question.factual.as_json(),
            "error": {"fault": self.fault, "reason": self.reason},
            "files": {} if question.file is None else {"factual": question.file},
        }

    @classmethod
    def from_json(cls, table: Table) -> Failed:
        """The inverse of `as_json`.

        Raises:
            DataError: a field is missing or has the wrong type.
        """
        error = table.need_table("error")
        fault = error.need("fault", str)
        known = {name: name for name in get_args(Fault)}
        if fault not in known:
            raise error.wrong("fault", " or ".join(known), fault)
        return cls(
            question=Question.from_json(table),
            engine=table.need("engine", str),
            reason=error.need("reason", str),
            fault=known[fault],
        )


@dataclass
class AnswerLoop:
    """Answers questions with engines, for every command and for `cfx.explain`.

    A batch that does not fit into memory is halved, and so are all later ones. Where a model or an engine fails on an
    image, that image alone has no answer.

    Attributes:
        bundle: holds the classifier and the judges.
        engines: by name, built with the bundle's models.
        options: how questions are answered.
        batch_size: largest number of questions in a batch.
        note: called with a sentence when batches become smaller.
        bisects: search again for the images of a batch on which a model or an engine fails, to find out on which; else
            all questions of the batch have failed.
    """

    bundle: Bundle
    engines: Mapping[str, Engine]
    options: AnswerOptions
    batch_size: int = BATCH_SIZE
    note: Callable[[str], None] = SILENT.note
    bisects: bool = True

    def run(self, batches: Iterable[QuestionBatch]) -> Iterator[Answered | Failed]:
        """Answer batches with every engine, one after another, as their answers are asked for."""
        for batch in batches:
            for name in self.engines:
                yield from self.answer(name, batch)

    def answer(
        self, name: str, batch: QuestionBatch, watch: Callable[[int], None] | None = None
    ) -> Iterator[Answered | Failed]:
        """Answer a batch with one engine.

        Args:
            name: name of the engine.
            batch: N questions.
            watch: as in `AnswerOptions`, instead of that one.

        Yields:
            What became of each question, in their order.

        Raises:
            MemoryError, torch.OutOfMemoryError: not even one question fits into memory.
        """
        options = self.options if watch is None else replace(self.options, watch=watch)
        start = 0
        while start < len(batch):
            part = batch.only(range(start, min(start + self.batch_size, len(batch))))
            try:
                done = self._answer(name, part, options)
            except Exception as error:
                if not is_out_of_memory(error) or len(part) == 1:
                    raise
                self.batch_size = len(part) // 2
                self.note(f"out of memory; continuing with batches of {self.batch_size}")
            else:
                yield from done
                start += len(part)
                continue
            # This is outside the handler, because its traceback keeps the tensors alive.
            gc.collect()
            if self.bundle.device.type == "cuda":
                torch.cuda.empty_cache()

    def _answer(self, name: str, batch: QuestionBatch, options: AnswerOptions) -> list[Answered | Failed]:
        engine = self.engines[name]

        def some(rows: Sequence[int]) -> list[list[Answer]]:
            return by_question(answer_batch(self.bundle, name, engine, batch.only(rows), options))

        results: list[Answered | Failed] = []
        for rows, done in bisected(range(len(batch)), some, to_the_end=self.bisects):
            questions = [batch.questions[row] for row in rows]
            if isinstance(done, ModelError):
                results += [Failed.of(question, name, done) for question in questions]
                continue
            for question, answers in zip(questions, done, strict=True):
                results.append(Answered(question=question, engine=name, answers=tuple(answers)))
        return results


def by_question(answers: Sequence[Answer]) -> list[list[Answer]]:
    """Answers to questions in their order, the first of each with place 1, as a list for each question."""
    sets: list[list[Answer]] = []
    for answer in answers:
        if answer.place == 1:
            sets.append([])
        sets[-1].append(answer)
    return sets
