"""The terminal: results go to stdout; progress, notes and errors go to stderr."""

from __future__ import annotations

import os
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

from ...documents import to_json
from ...errors import printable
from ...progress import SILENT, Lines, Task, clock_time, in_words

if TYPE_CHECKING:
    from PIL.Image import Image

PATIENCE = 1.0  # seconds before progress is shown
PIPE_WIDTH = 160  # columns of stdout if it is not a terminal


class Terminal:
    """The consoles of stdout and stderr, and the progress bars; implements `Progress`.

    Args:
        quiet: print neither progress nor notes.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPE_WIDTH
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
        """Show a progress bar on stderr while the context lasts, beginning after `PATIENCE` seconds.

        Print nothing to stdout meanwhile, because both may be the same terminal. If stderr is not a terminal, a line is
        printed once a minute instead.

        Args:
            label: what is being done.
            total: number of steps; None if unknown.
            done: number of steps that are done already.
        """
        if self._quiet:
            with SILENT.task(label, total, done) as task:
                yield task
            return
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
    def work(self, what: str) -> Iterator[None]:
        """Print a line when the work begins and one when it is done, if stderr is not a terminal.

        Args:
            what: the command and what it works on, such as "explain: 3 images with vcnet".
        """
        if self._watched or self._quiet:
            yield
            return
        began = time.monotonic()
        self._lines.note(f"cfx {what}")
        yield
        self._lines.note(f"cfx {what.partition(':')[0]}: done in {clock_time(time.monotonic() - began)}")

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """Show the bars from the beginning of the first task to the end of the last one."""
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
        """Print something that the user should know, on stderr."""
        if not self._quiet:
            self.err.print(f"[dim]note:[/] {escape(printable(text))}", soft_wrap=True)

    def error(self, text: str) -> None:
        """Print what is wrong with one of several inputs, on stderr."""
        self.err.print(f"[red]error:[/] {escape(printable(text))}", soft_wrap=True)

    def warning(self, text: str) -> None:
        """Print something that looks wrong, on stderr."""
        self.err.print(f"[yellow]warning:[/] {escape(printable(text))}", soft_wrap=True)

    def gate(self, says: str, passed: bool) -> None:
        """Print the outcome of a gate, on stderr."""
        says = printable(says)
        self.err.print(Text.assemble(("gate ", "dim"), (says, "green" if passed else "bold red")), soft_wrap=True)

    def line(self, text: str) -> None:
        """Print one line on stdout, without markup or wrapping."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def json(self, document: object) -> None:
        """Print a document as one line of JSON on stdout, in ASCII if stdout has no UTF-8."""
        ascii_only = (sys.stdout.encoding or "ascii").lower().replace("-", "") not in ("utf8", "utf8sig")
        self.line(to_json(document, ascii_only=ascii_only))

    def pictures(self, *titled: tuple[str, Image]) -> None:
        """Print pictures side by side in half-block characters, if the console has the colours and the width."""
        from .pictures import half_blocks  # imports Pillow, which few commands need

        drawn = half_blocks(self.out, titled)
        if drawn is not None:
            self.out.print(drawn, "", sep="\n", soft_wrap=True)


class _Bar:
    """One task's progress bar, with its rate, its remaining time, and its figures."""

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
            if rate:
                words = [f"{rate:.1f}/s", f"{clock_time((self._total - self._done) / rate)} left", *words]
        self._bars.update(self._number, completed=self._done, figures="  ".join(words))
