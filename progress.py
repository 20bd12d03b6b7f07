"""Progress reports of long-running work: a protocol, a silent implementation, and one for logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO


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
    """Prints a line per minute, for output that is not a terminal, such as CI logs and files.

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

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Task]:
        task = _Line(self, label, total, done)
        yield task
        if task.has_printed:
            self.note(f"{label}: done")

    def note(self, text: str) -> None:
        print(text, file=self._stream or sys.stderr, flush=True)

    def due(self, last: float) -> bool:
        """Whether it is time for another line; `last` is the time of the previous one."""
        return self._clock() - last >= self._every

    def now(self) -> float:
        """The current time of its clock."""
        return self._clock()


class _Line:
    def __init__(self, lines: Lines, label: str, total: int | None, done: int) -> None:
        self._lines = lines
        self._label = label
        self._total = total
        self._done = done
        self._last = lines.now()
        self.has_printed = False

    def advance(self, count: int = 1, **figures: float) -> None:
        self._done += count
        if self._lines.due(self._last):
            self._last, self.has_printed = self._lines.now(), True
            of = "" if self._total is None else f" of {self._total}"
            self._lines.note(", ".join([f"{self._label}: {self._done}{of}", *in_words(figures)]))


def in_words(figures: dict[str, float]) -> list[str]:
    """Figures formatted for a progress line."""
    return [f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items()]
