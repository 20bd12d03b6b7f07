"""Progress reports of long-running work: a protocol, a silent implementation, and one for logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Event, Thread
from typing import Protocol, TextIO

from .errors import printable


class Task(Protocol):
    """A task in progress."""

    def advance(self, count: int = 1, **figures: float) -> None:
        """Report that `count` more units are done; figures are the latest values to show, such as losses, by name."""
        ...


class Progress(Protocol):
    """A receiver of progress reports."""

    def task(self, label: str, total: int | None = None, done: int = 0) -> AbstractContextManager[Task]:
        """Start a task, which ends with the context.

        Args:
            label: what is being done.
            total: units of work in total; None if unknown.
            done: units that were done before.
        """
        ...

    def note(self, text: str) -> None:
        """Show a message to the user."""
        ...


class _Ignored:
    def advance(self, count: int = 1, **figures: float) -> None:
        pass


class Silent:
    """Ignores all reports."""

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Task]:
        yield _Ignored()

    def note(self, text: str) -> None:
        pass


SILENT = Silent()


class Lines:
    """Prints a line per minute while tasks run, for output that is not a terminal, such as CI logs and files.

    A thread prints the lines, so that they also appear while a single step takes long: CI servers stop silent jobs.

    Args:
        stream: where to print; None is `sys.stderr` at the time of printing.
        every_s: seconds before the first line of a task, and between two lines.
        clock: returns the time in seconds.
    """

    def __init__(
        self, stream: TextIO | None = None, every_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._every = every_s
        self._clock = clock
        self._tasks: list[_Line] = []
        self._stopped = Event()

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Task]:
        task = _Line(label, total, done, self._clock())
        self._tasks.append(task)
        if len(self._tasks) == 1:
            self._stopped.clear()
            Thread(target=self._print_regularly, daemon=True).start()
        try:
            yield task
        finally:
            self._tasks.remove(task)
            if not self._tasks:
                self._stopped.set()

    def note(self, text: str) -> None:
        print(printable(text), file=self._stream or sys.stderr, flush=True)

    def print_due(self) -> None:
        """Print a line for the innermost task if it is time."""
        now, tasks = self._clock(), self._tasks[-1:]
        for task in tasks:
            if now - task.printed >= self._every:
                task.printed = now
                self.note(task.text(now))

    def _print_regularly(self) -> None:
        while not self._stopped.wait(min(1.0, self._every)):
            self.print_due()


class _Line:
    def __init__(self, label: str, total: int | None, done: int, began: float) -> None:
        self._label = label
        self._total = total
        self._done = self._before = done
        self._figures: dict[str, float] = {}
        self._began = self.printed = began

    def advance(self, count: int = 1, **figures: float) -> None:
        self._done += count
        self._figures = figures

    def text(self, now: float) -> str:
        """The line: how much is done, and how long the rest will take."""
        spent = now - self._began
        if self._total is None:
            return f"{self._label}: {clock_time(spent)} so far"
        rate = (self._done - self._before) / spent if spent else 0.0
        left = f"{clock_time((self._total - self._done) / rate)} left" if rate else f"{clock_time(spent)} so far"
        return ", ".join([f"{self._label}: {self._done} of {self._total}", left, *in_words(self._figures)])


def clock_time(seconds: float) -> str:
    """A duration as minutes and seconds, such as "2:05", or "1:02:05"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def in_minutes(seconds: float) -> str:
    """About how long something takes, such as "40 s", "20 min" or "3 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def in_words(figures: dict[str, float]) -> list[str]:
    """Figures formatted for a progress line."""
    return [
        f"{name.replace('_', ' ')} {value if isinstance(value, int) else format(value, '.4g')}"
        for name, value in figures.items()
    ]
