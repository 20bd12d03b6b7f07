"""How long work says how far it has come: one protocol, a silent way, and one for logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO


class Task(Protocol):
    """One piece of work that is under way."""

    def advance(self, count: int = 1, **figures: float) -> None:
        """So much more is done; figures are the latest of whatever is worth watching, by name."""
        ...


class Progress(Protocol):
    """Who is told of pieces of work."""

    def task(self, label: str, total: int | None = None, done: int = 0) -> AbstractContextManager[Task]:
        """Begin a piece of work, which lasts as long as the context.

        Args:
            label: what is being done.
            total: how much there is of it; None where nobody knows.
            done: how much of it was done before.
        """
        ...

    def note(self, text: str) -> None:
        """Something that a user should know."""
        ...


class _Ignored:
    def advance(self, count: int = 1, **figures: float) -> None:
        pass


class Silent:
    """Says nothing."""

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Task]:
        yield _Ignored()

    def note(self, text: str) -> None:
        pass


SILENT = Silent()


class Lines:
    """A line a minute, for where nobody watches a bar move: logs of CI, files.

    Args:
        stream: where to; stderr as it is at that time, if None.
        every_s: seconds between two lines of one task, and before its first.
        clock: in seconds.
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
        if task.said:
            self.note(f"{label}: done")

    def note(self, text: str) -> None:
        print(text, file=self._stream or sys.stderr, flush=True)

    def due(self, last: float) -> bool:
        """Whether it is time for a line, `last` being when there was one."""
        return self._clock() - last >= self._every

    def now(self) -> float:
        """On its clock."""
        return self._clock()


class _Line:
    def __init__(self, lines: Lines, label: str, total: int | None, done: int) -> None:
        self._lines = lines
        self._label = label
        self._total = total
        self._done = done
        self._last = lines.now()
        self.said = False

    def advance(self, count: int = 1, **figures: float) -> None:
        self._done += count
        if self._lines.due(self._last):
            self._last, self.said = self._lines.now(), True
            of = "" if self._total is None else f" of {self._total}"
            self._lines.note(", ".join([f"{self._label}: {self._done}{of}", *in_words(figures)]))


def in_words(figures: dict[str, float]) -> list[str]:
    """Figures as a line shows them."""
    return [f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items()]
