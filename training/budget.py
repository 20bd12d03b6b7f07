"""How the time budget of `cfx train` is divided among its fits, by the clock."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..files import write_text
from ..progress import Progress, Task

RESERVE = 0.1  # of the time, for work other than training: measuring and drawing
TRIAL = 0.1  # of the time, for the trial of the engines
FOR_CLASSIFIERS = 0.5  # of the time at most, until which judges and classifiers learn


@dataclass(frozen=True, kw_only=True)
class Share:
    """The share of a fit.

    Attributes:
        weight: of its time, against those of other fits.
        classifies: whether it trains a judge or a classifier, without which nothing else is worth anything.
    """

    weight: float
    classifies: bool = False


class Budget:
    """The time budget of a training session and the time already spent, counted over all restarts.

    Args:
        seconds: the whole budget.
        fits: the labels of all remaining fits, each with its share of the time.
        file: stores the time spent between restarts.
        command: what is done in that time; time that was spent on something else does not count.
        began: when this start began, by `clock`; now, if None.
        clock: gives the time in seconds.
    """

    def __init__(
        self,
        seconds: float,
        fits: Mapping[str, Share],
        file: Path,
        *,
        command: str = "",
        began: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self.left_to_do = dict(fits)
        self.file = file
        self.command = command
        self.clock = clock
        self.start = (clock() if began is None else began) - self._spent_before()

    def _spent_before(self) -> float:
        """Seconds that earlier starts of the same command spent; 0 if the file does not say."""
        try:
            found = json.loads(self.file.read_text())
            return float(found["seconds"]) if found.get("command") == self.command else 0.0
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return 0.0

    @property
    def spent(self) -> float:
        """Seconds spent, over all restarts."""
        return self.clock() - self.start

    @property
    def left(self) -> float:
        """Seconds that are left for anything; 0 if none are."""
        return max(0.0, self.seconds - self.spent)

    def allot(self, label: str, before: float = 0.0) -> float:
        """The seconds of a fit in all: its share of what is left.

        Judges and classifiers share what is left of the first half of the budget, all others the rest. What a fit does
        not need, the next ones get.

        Args:
            label: of the fit.
            before: seconds that it took before this start, which are part of its share.
        """
        own = self.left_to_do.get(label, Share(weight=0.0))
        alike = [share for share in self.left_to_do.values() if share.classifies == own.classifies]
        others = len(alike) < len(self.left_to_do)
        until = FOR_CLASSIFIERS if own.classifies and others else 1 - RESERVE - TRIAL
        part = own.weight / (sum(share.weight for share in alike) or 1.0)
        return part * max(0.0, self.seconds * until - self.spent + before)

    def done(self, label: str) -> None:
        """Record that a fit has ended, early or late; the remaining fits share the time that is left."""
        self.left_to_do.pop(label, None)
        self.save()

    def save(self) -> None:
        """Store the time spent for the next start."""
        write_text(self.file, json.dumps({"seconds": round(self.spent, 1), "command": self.command}))


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
