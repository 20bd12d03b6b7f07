"""The terminal: results on stdout; progress, notes and errors on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from ...progress import Lines, Task, in_words

if TYPE_CHECKING:
    from PIL.Image import Image

PATIENCE = 1.0  # seconds after which a user wants to know what is going on
PIPE_WIDTH = 160  # columns where nobody says how many there are


class Terminal:
    """The two consoles, and bars that show how far work has come: a `Progress`."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else PIPE_WIDTH
        self.out = Console(highlight=False, width=width)
        self.err = Console(stderr=True, highlight=False)
        self._watched = sys.stderr.isatty() and self.err.is_interactive
        self._lines = Lines()
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}", markup=False, style="dim"),
            console=self.err,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._depth = 0
        self._started = time.monotonic()

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Task]:
        """Show how far some work has come on stderr for as long as the context lasts, once a second has passed.

        Nothing may be printed on stdout meanwhile: both may be the same terminal. Where nobody watches, there is a line
        a minute.

        Args:
            label: what is being done.
            total: pieces of work in all, once that is known.
            done: pieces of work done so far.
        """
        if not self._watched:
            with self._lines.task(label, total, done) as task:
                yield task
            return
        number = self._bars.add_task(label, total=total, completed=done, figures="")
        with self._shown():
            try:
                yield _Bar(self._bars, number, total, done)
            finally:
                self._bars.remove_task(number)

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """The bars, from the first task on until the last one ends."""
        self._depth += 1
        timer = None
        if self._depth == 1:
            timer = Timer(max(0.0, PATIENCE - (time.monotonic() - self._started)), self._bars.start)
            timer.daemon = True
            timer.start()
        try:
            yield
        finally:
            self._depth -= 1
            if timer is not None:
                timer.cancel()
                timer.join()
                self._bars.stop()

    def note(self, text: str) -> None:
        """Something a user should know, on stderr."""
        self.err.print(f"[dim]note:[/] {escape(text)}", soft_wrap=True)

    def error(self, text: str) -> None:
        """What was wrong with one input of several, on stderr."""
        self.err.print(f"[red]error:[/] {escape(text)}", soft_wrap=True)

    def warning(self, text: str) -> None:
        """Something that looks wrong, on stderr."""
        self.err.print(f"[yellow]warning:[/] {escape(text)}", soft_wrap=True)

    def gate(self, says: str, passed: bool) -> None:
        """What became of a gate, on stderr."""
        self.err.print(Text.assemble(("gate ", "dim"), (says, "green" if passed else "bold red")), soft_wrap=True)

    def line(self, text: str) -> None:
        """One line of clean output on stdout, as it is."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def pictures(self, *titled: tuple[str, Image]) -> None:
        """Pictures side by side in half-block characters, where the console has the colours and the room."""
        from .pictures import half_blocks  # with Pillow, which few commands need

        drawn = half_blocks(self.out, titled)
        if drawn is not None:
            self.out.print(drawn, "", sep="\n", soft_wrap=True)


class _Bar:
    """A task on the terminal, with its rate, the time that is left, and its figures."""

    def __init__(self, bars: Bars, number: TaskID, total: int | None, done: int) -> None:
        self._bars = bars
        self._number = number
        self._total = total
        self._done = self._before = done
        self._began = time.monotonic()

    def advance(self, count: int = 1, **figures: float) -> None:
        self._done += count
        words = in_words(figures)
        if figures and self._total is not None:
            rate = (self._done - self._before) / max(1e-9, time.monotonic() - self._began)
            left = int((self._total - self._done) / rate) if rate else 0
            words = [f"{rate:.1f}/s", f"{left // 60}:{left % 60:02d} left", *words]
        self._bars.update(self._number, completed=self._done, figures="  ".join(words))
