"""How the time budget of `cfx train` is divided among the remaining fits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..files import write_text
from ..progress import Progress, Task
from .fit import Fit

RESERVE = 0.08  # of the time, for work other than training: reading, measuring, drawing
LEAST_STEPS = 30  # with fewer a model learns nothing


class Budget:
    """The time budget of a training session and the time already spent, counted over all restarts.

    Args:
        seconds: the whole budget.
        fits: the labels of all remaining fits, each with its share of the time.
        file: stores the time spent between restarts.
        began: when this start began, on `time.monotonic`'s clock; now, if None.
    """

    def __init__(
        self, seconds: float, fits: Iterable[tuple[str, float]], file: Path, began: float | None = None
    ) -> None:
        self.seconds = seconds
        self.left_to_do = dict(fits)
        self.file = file
        spent = json.loads(file.read_text())["seconds"] if file.exists() else 0.0
        self.start = (time.monotonic() if began is None else began) - spent

    @property
    def spent(self) -> float:
        """Seconds spent, over all restarts."""
        return time.monotonic() - self.start

    def allot(self, label: str, fit: Fit) -> int:
        """The number of steps of a fit: what its share of the time allows, at most its own `total_steps`."""
        weight = self.left_to_do.get(label, 0.0)
        share = weight / (sum(self.left_to_do.values()) or 1.0)
        seconds = share * max(0.0, self.seconds * (1 - RESERVE) - self.spent)
        return min(fit.total_steps, max(LEAST_STEPS, int(seconds / fit.seconds_per_step())))

    def done(self, label: str) -> None:
        """Record that a fit has ended, early or late; the remaining fits share the time that is left."""
        self.left_to_do.pop(label, None)
        self.save()

    def save(self) -> None:
        """Store the time spent for the next start."""
        write_text(self.file, json.dumps({"seconds": round(self.spent, 1)}))


class Timed:
    """Progress that also stores the time spent, so that time spent before a kill counts.

    Args:
        progress: receives all tasks and notes.
        budget: stores the time spent at every step that is reported.
    """

    def __init__(self, progress: Progress, budget: Budget) -> None:
        self._progress = progress
        self._budget = budget

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Task]:
        with self._progress.task(label, total, done) as task:
            yield _TimedTask(task, self._budget)

    def note(self, text: str) -> None:
        self._progress.note(text)


class _TimedTask:
    def __init__(self, task: Task, budget: Budget) -> None:
        self._task = task
        self._budget = budget

    def advance(self, count: int = 1, **figures: float) -> None:
        self._budget.save()
        self._task.advance(count, **figures)
