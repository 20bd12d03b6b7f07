"""The loop of a run: for each batch and engine, search, score, write the images, and append the records."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import torch

from ..answers.answer import Answer
from ..answers.pipeline import AnswerOptions, answer_batch
from ..answers.question import QuestionBatch
from ..bundles.bundle import Bundle
from ..counterfactuals.engine import Engine
from ..images.writing import write_png
from ..memory import available
from ..progress import SILENT, Progress, Task
from .questions import load_batch
from .run import Run, image_file

LARGEST = 256  # images; larger batches are not faster on a CPU
FLOATS_A_VALUE = 400  # floats that a search keeps in memory for each value of an image; measured


def batch_size_for(bundle: Bundle) -> int:
    """The largest power of two whose batch fits into half of the free memory, at most `LARGEST`."""
    free = available(bundle.device)
    if free is None:
        return LARGEST // 4
    most = free // 2 // (4 * FLOATS_A_VALUE * prod(bundle.shape))
    return max(1, min(LARGEST, 2 ** max(0, int(most).bit_length() - 1)))


@dataclass
class Runner:
    """Answers every question of a run that has no answer yet.

    Attributes:
        run: the run.
        bundle: holds the models.
        engines: the engines by name, including controls.
        batch_size: number of questions in a batch.
        options: how questions are answered.
        progress: shows a task for each engine.
    """

    run: Run
    bundle: Bundle
    engines: Mapping[str, Engine]
    batch_size: int
    options: AnswerOptions
    progress: Progress = SILENT
    _tasks: dict[str, Task] = field(default_factory=dict)
    _valid: dict[str, int] = field(default_factory=dict)

    def go(self) -> None:
        """Answer the open questions, in the same batches as in a run that was never interrupted.

        Raises:
            OutputError: the disk is full; earlier records are kept.
            MemoryError, torch.OutOfMemoryError: not even one image fits into memory.
        """
        total, valid = len(self.run.questions), self._valid
        with ExitStack() as tasks:
            for name in self.engines:
                task = self.progress.task(name, total, len(self.run.answered.get(name, ())))
                self._tasks[name] = tasks.enter_context(task)
                valid[name] = sum(answer.valid for answer in self.run.answers if answer.engine == name)
            self._go()

    def _go(self) -> None:
        warm: set[str] = set()
        start = 0
        while start < len(self.run.questions):
            questions = self.run.questions[start : start + self.batch_size]
            missing = [name for name in self.engines if not self.run.has(name, questions)]
            try:
                if missing:
                    batch = load_batch(self.run.directory, questions, self.bundle)
                    for name in missing:
                        if name not in warm:  # the first search is slower than later ones
                            few, classifier = batch.only(range(min(2, len(batch)))), self.bundle.classifier
                            self.engines[name].search(classifier, few.images, few.targets, seed=self.options.seed)
                            warm.add(name)
                        self._answer(name, batch)
            except Exception as error:
                if not is_out_of_memory(error) or self.batch_size == 1:
                    raise
                self.batch_size = max(1, self.batch_size // 2)
                self.progress.note(f"out of memory; continuing with --batch-size {self.batch_size}")
            else:
                start += len(questions)
                continue
            # This is outside the handler, because its traceback keeps the tensors alive.
            gc.collect()
            if self.bundle.device.type == "cuda":
                torch.cuda.empty_cache()

    def _answer(self, name: str, batch: QuestionBatch) -> None:
        """Search, score and record a batch; if some of its answers are recorded already, record only the others."""
        new = record(self.run, answer_batch(self.bundle, name, self.engines[name], batch, self.options))
        self._valid[name] += sum(answer.valid for answer in new)
        done = len(self.run.answered.get(name, ()))
        self._tasks[name].advance(len(new), valid=self._valid[name] / done if done else 0.0)


def record(run: Run, answers: Sequence[Answer]) -> list[Answer]:
    """Write the counterfactuals and then the records of answers; return the new answers, without their images."""
    new: list[Answer] = []
    for answer in answers:
        question = answer.question
        assert question.number is not None and question.file is not None
        file = image_file(answer.engine, question.number)
        write_png(run.directory / Path(file), answer.given_images.counterfactual)
        if question.number not in run.answered.get(answer.engine, set()):
            files = {"factual": question.file, "counterfactual": file}
            new.append(replace(answer.with_files(files), images=None))
    run.append(new)
    return new


def is_out_of_memory(error: Exception) -> bool:
    """Whether a search ran out of memory; torch raises different errors on different devices."""
    message = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in message or "out of memory" in message)
    )
