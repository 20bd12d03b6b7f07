"""The loop of a run: for each batch and engine, search, score, write the images, and append the records."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from time import perf_counter

import torch

from ..answers.answer import Answer
from ..answers.pipeline import AnswerOptions, answer_batch
from ..answers.question import QuestionBatch
from ..answers.region import Within
from ..bundles.bundle import Bundle
from ..counterfactuals.engine import Engine
from ..images.writing import write_png
from ..memory import available, is_out_of_memory
from ..progress import SILENT, Progress, Task
from .questions import load_batch
from .run import Run, image_file

LARGEST = 256  # images; larger batches are not faster on a CPU
LONGEST = 20.0  # seconds that a batch should take at most
WARM_UP = 2  # questions
FLOATS_A_VALUE = 400  # floats that a search keeps in memory for each value of an image; measured


def batch_size_for(bundle: Bundle) -> int:
    """The largest power of two whose batch fits into half of the free memory, at most `LARGEST`."""
    free = available(bundle.device)
    if free is None:
        return LARGEST // 4
    most = free // 2 // (4 * FLOATS_A_VALUE * prod(bundle.shape))
    return max(1, min(LARGEST, 2 ** max(0, int(most).bit_length() - 1)))


def size_by_speed(few: float, twice: float) -> int:
    """The largest power of two whose batch takes less than `LONGEST` seconds; at least 1.

    Args:
        few: seconds of a search for `WARM_UP` questions.
        twice: seconds of a search for twice as many.
    """
    each = max(twice - few, twice / 20) / WARM_UP  # a batch costs a fixed part and a part for each question
    most = int((LONGEST - (twice - 2 * WARM_UP * each)) / each)
    return 2 ** max(0, max(1, most).bit_length() - 1)


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
        by_speed: search smaller batches with an engine whose batch would take longer than `LONGEST`, so that a killed
            run loses little work. The sizes are chosen once and stored in the manifest.
        within: where images may change; None: everywhere.
    """

    run: Run
    bundle: Bundle
    engines: Mapping[str, Engine]
    batch_size: int
    options: AnswerOptions
    progress: Progress = SILENT
    by_speed: bool = False
    within: Within | None = None
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
                valid[name] = sum(
                    answer.valid for answer in self.run.answers if (answer.engine, answer.place) == (name, 1)
                )
            self._go()

    def _go(self) -> None:
        warm: set[str] = set()
        start = 0
        while start < len(self.run.questions):
            questions = self.run.questions[start : start + self.batch_size]
            missing = [name for name in self.engines if not self.run.has(name, questions)]
            try:
                if missing:
                    batch = load_batch(self.run.directory, questions, self.bundle, self.within)
                    for name in missing:
                        if name not in warm:
                            self._warm_up(name, batch)
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

    def _warm_up(self, name: str, batch: QuestionBatch) -> None:
        """Search for few questions, because the first search is slower than later ones; then choose the batch size."""

        def seconds(count: int) -> float:
            few, began = batch.only(range(min(count, len(batch)))), perf_counter()
            found = self.engines[name].search(self.bundle.classifier, few.images, few.targets, seed=self.options.seed)
            found.valid.tolist()  # waits for the device to finish
            return perf_counter() - began

        first = seconds(WARM_UP)
        if not self.by_speed or name in self.run.manifest.batch_sizes:
            return
        size = self.batch_size
        if first > 1:  # otherwise even the largest batch is short enough
            size = min(size, size_by_speed(first, seconds(2 * WARM_UP)))
        self.run.set_batch_size(name, size)

    def _answer(self, name: str, batch: QuestionBatch) -> None:
        """Search, score and record a batch; if some of its answers are recorded already, record only the others."""
        size = min(self.batch_size, self.run.manifest.batch_sizes.get(name, self.batch_size))
        for start in range(0, len(batch), size):
            some = batch.only(range(start, min(start + size, len(batch))))
            if self.run.has(name, some.questions):
                continue
            new = record(self.run, answer_batch(self.bundle, name, self.engines[name], some, self.options))
            first = [answer for answer in new if answer.place == 1]
            self._valid[name] += sum(answer.valid for answer in first)
            done = len(self.run.answered.get(name, ()))
            self._tasks[name].advance(len(first), valid=self._valid[name] / done if done else 0.0)


def record(run: Run, answers: Sequence[Answer]) -> list[Answer]:
    """Write the counterfactuals and then the records of answers; return the new answers, without their images."""
    new: list[Answer] = []
    for answer in answers:
        question = answer.question
        assert question.number is not None and question.file is not None
        file = image_file(answer.engine, question.number, answer.place)
        write_png(run.directory / Path(file), answer.given_images.counterfactual)
        if (answer.engine, question.number, answer.place) not in run.recorded:
            files = {"factual": question.file, "counterfactual": file}
            new.append(replace(answer.with_files(files), images=None))
    run.append(new)
    return new
