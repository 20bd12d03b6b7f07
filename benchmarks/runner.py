"""The loop of a run: for each batch and engine, search, score, write the images, and append the records."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import prod
from time import perf_counter

from ..answers.answer import Answer
from ..answers.loop import Answered, AnswerLoop, Failed
from ..answers.pictures.held import InRun
from ..answers.question import QuestionBatch
from ..answers.region import Within
from ..bundles.bundle import Bundle
from ..counterfactuals.problem import ModelError
from ..images.writing import as_png, to_picture
from ..memory import available, is_out_of_memory, resident, return_freed_memory
from ..progress import SILENT, Progress, Task
from .questions import load_batch
from .run import Outcome, Run, image_file

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
        loop: with the bundle, the engines by name, including controls, and how questions are answered.
        progress: shows a task for each engine.
        by_speed: search smaller batches with an engine whose batch would take longer than `LONGEST`, so that a killed
            run loses little work. The sizes are chosen once and stored in the manifest.
        within: where images may change; None: everywhere.
    """

    run: Run
    loop: AnswerLoop
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
            for name in self.loop.engines:
                task = self.progress.task(name, total, len(self.run.answered.get(name, ())))
                self._tasks[name] = tasks.enter_context(task)
                valid[name] = sum(
                    answer.valid for answer in self.run.answers if (answer.engine, answer.place) == (name, 1)
                )
            self._go()

    def _go(self) -> None:
        warm: set[str] = set()
        size, first = self.run.batch_size, 0
        for start in range(0, len(self.run.questions), size):
            questions = self.run.questions[start : start + size]
            missing = [name for name in self.loop.engines if not self.run.has(name, questions)]
            if not missing:
                continue
            batch = load_batch(self.run.path, questions, self.loop.bundle, self.within)
            for name in missing:
                if name not in warm:
                    self._warm_up(name, batch)
                    warm.add(name)
                self._answer(name, batch)
            now = resident() or 0
            first = first or now
            if now > first:  # not after each batch, which would cost the fastest engines a tenth
                return_freed_memory()

    def _warm_up(self, name: str, batch: QuestionBatch) -> None:
        """Search for few questions, because the first search is slower than later ones; then choose the batch size."""
        first = self._seconds(name, batch, WARM_UP)
        if first is None or not self.by_speed or name in self.run.batch_sizes:
            return
        size = self.run.batch_size
        if first > 1:  # otherwise even the largest batch is short enough
            twice = self._seconds(name, batch, 2 * WARM_UP)
            if twice is None:
                return
            size = min(size, size_by_speed(first, twice))
        self.run.set_batch_size(name, size)

    def _seconds(self, name: str, batch: QuestionBatch, count: int) -> float | None:
        """How long a search for few questions takes; None if it fails, of which the loop makes records later."""
        few, began = batch.only(range(min(count, len(batch)))), perf_counter()
        try:
            found = self.loop.engines[name].answer(self.loop.bundle.classifier, self.loop.options.request(few))
            found.valid.tolist()  # waits for the device to finish
        except Exception as error:
            if not isinstance(error, ModelError) and not is_out_of_memory(error):
                raise
            return None
        return perf_counter() - began

    def _answer(self, name: str, batch: QuestionBatch) -> None:
        """Search, score and record a batch; if some of its answers are recorded already, record only the others."""
        size = min(self.loop.batch_size, self.run.batch_sizes.get(name, self.loop.batch_size))
        start = 0
        while start < len(batch):
            part = batch.only(range(start, min(start + size, len(batch))))
            start += len(part)
            if self.run.has(name, part.questions):
                continue
            results: list[Answered | Failed] = []
            try:
                results.extend(self.loop.answer(name, part))
            finally:  # what was found before the memory ran out is kept
                done = record(self.run, results)
            self._valid[name] += sum(isinstance(each, Answer) and each.valid and each.place == 1 for each in done)
            there = len(self.run.answered.get(name, ()))
            new = len({each.question.number for each in done})
            self._tasks[name].advance(new, valid=self._valid[name] / there if there else 0.0)


def record(run: Run, results: Sequence[Answered | Failed]) -> list[Outcome]:
    """Write the counterfactuals, then the records; return those that are new, with their pictures in the run."""
    new: list[Outcome] = []
    for result in results:
        for each in (result,) if isinstance(result, Failed) else result.answers:
            if isinstance(each, Answer):
                each = written(run, each)
            if each.key not in run.recorded:
                new.append(each)
    run.append(new)
    return new


def written(run: Run, answer: Answer) -> Answer:
    """Write the counterfactual of an answer; return the answer with its pictures in the run."""
    question = answer.question
    assert question.number is not None and question.file is not None
    file = image_file(answer.engine, question.number, answer.place)
    run.directory.write(file, as_png(to_picture(answer.pictures.counterfactual)))
    files = {"factual": question.file, "counterfactual": file}
    return replace(answer.with_files(files), pictures=InRun(run.path, files))
