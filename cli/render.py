"""What is drawn in the terminal, with Rich: results on stdout; progress, notes and errors on stderr.

The answers of `cfx explain` have a file of their own, answers.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING, Any, cast

from rich.color import Color
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ..errors import few

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..bundles.bundle import Bundle
    from ..training.session import Progress as FittingProgress
    from ..training.setup import InitReport

PATIENCE = 1.0  # seconds after which a user wants to know what is going on
WIDEST = 48  # columns that a picture in the terminal takes at most
NARROWEST = 12  # columns below which a picture shows nothing
PIPE_WIDTH = 160  # columns where nobody says how many there are


class Screen:
    """The two consoles and the progress bar, which is only ever seen inside `busy`."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else PIPE_WIDTH
        self.out = Console(highlight=False, width=width)
        self.err = Console(stderr=True, highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.err,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=None)
        self._started = time.monotonic()
        self._shown = sys.stderr.isatty() and self.err.is_interactive

    @contextmanager
    def busy(self, doing: str, *, total: int | None = None, done: int | None = None) -> Iterator[Callable[[], None]]:
        """Show a progress bar on stderr for as long as the context lasts, once a second has passed.

        Nothing may be printed on stdout meanwhile: both may be the same terminal. Yields a function that
        counts one more piece of work as done.

        Args:
            doing: what is being done.
            total: pieces of work in all, once that is known.
            done: pieces of work done so far.
        """
        if not self._shown:
            yield lambda: None
            return
        self._progress.update(self._task, description=doing, total=total, completed=done)
        timer = Timer(max(0.0, PATIENCE - (time.monotonic() - self._started)), self._progress.start)
        timer.daemon = True
        timer.start()
        try:
            yield lambda: self._progress.advance(self._task)
        finally:
            timer.cancel()
            timer.join()
            self._progress.stop()

    def note(self, text: str) -> None:
        """Something a user should know, on stderr."""
        self.err.print(f"[dim]note:[/] {escape(text)}", soft_wrap=True)

    def error(self, text: str) -> None:
        """What was wrong with one input of several, on stderr."""
        self.err.print(f"[red]error:[/] {escape(text)}", soft_wrap=True)

    def warning(self, text: str) -> None:
        """Something that looks wrong, on stderr."""
        self.err.print(f"[yellow]warning:[/] {escape(text)}", soft_wrap=True)

    @property
    def interactive(self) -> bool:
        """Whether somebody watches stderr."""
        return self._shown

    def gate(self, says: str, passed: bool) -> None:
        """What became of a gate, on stderr."""
        self.err.print(Text.assemble(("gate ", "dim"), (says, "green" if passed else "bold red")), soft_wrap=True)

    def line(self, text: str) -> None:
        """One line of clean output on stdout, as it is."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def pictures(self, *titled: tuple[str, Image]) -> None:
        """Pictures side by side in half-block characters, where the console has the colours and the room."""
        drawn = half_blocks(self.out, titled)
        if drawn is not None:
            self.out.print(drawn, "", sep="\n", soft_wrap=True)


def half_blocks(console: Console, titled: Sequence[tuple[str, Image]]) -> Text | None:
    """Titled pictures side by side, two pixels a character; None where the console cannot show them."""
    plain = console.no_color or console.color_system not in ("truecolor", "256")
    gap = "  "
    room = (console.width - len(gap) * (len(titled) - 1)) // len(titled)
    if plain or not console.is_terminal or not console.encoding.lower().startswith("utf") or room < NARROWEST:
        return None
    small = [(title, fitted(picture, min(room, WIDEST))) for title, picture in titled]
    heading = gap.join(title.center(picture.width)[: picture.width] for title, picture in small)
    text = Text.assemble((heading, "dim"))
    for row in range(0, small[0][1].height, 2):
        text.append("\n")
        for number, (_, picture) in enumerate(small):
            text.append(gap if number else "")
            for column in range(picture.width):
                upper, lower = (colour_at(picture, column, row + half) for half in (0, 1))
                text.append("▀", Style(color=upper, bgcolor=lower))
    return text


def colour_at(picture: Image, column: int, row: int) -> Color:
    """The colour of one pixel of an RGB picture."""
    red, green, blue = cast(tuple[int, int, int], picture.getpixel((column, row)))
    return Color.from_rgb(red, green, blue)


def fitted(picture: Image, width: int) -> Image:
    """The picture in colour, no wider than `width`, with an even number of rows."""
    picture = picture.convert("RGB")
    if picture.width <= width and picture.height % 2 == 0:
        return picture
    width = min(width, picture.width)
    return picture.resize((width, 2 * max(1, round(picture.height * width / picture.width / 2))))


@contextmanager
def fitting_progress() -> Iterator[FittingProgress]:
    """Progress of a training: a bar a model on stderr, or a line for each finished one without a terminal."""
    console = Console(stderr=True, highlight=False)
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}", markup=False, style="dim"),
        console=console,
        disable=not (sys.stderr.isatty() and console.is_interactive),
    )
    tasks: dict[str, TaskID] = {}

    def report(label: str, done: int, total: int, losses: dict[str, float]) -> None:
        if bars.disable:
            if done >= total:
                console.print(f"{label}: done", markup=False, soft_wrap=True)
            return
        if label not in tasks:
            tasks[label] = bars.add_task(label, total=total, losses="")
        shown = "  ".join(f"{name} {value:.4g}" for name, value in losses.items())
        bars.update(tasks[label], completed=done, losses=shown)

    with bars:
        yield report


def print_bundle_parts(bundle: Bundle) -> None:
    """Where a bundle is, and what was measured of each of its parts, on stdout."""
    console = Screen().out
    console.print(Text(f"bundle {bundle.name} in {bundle.directory}"))
    table = _grid()
    for name, entry in bundle.parts.items():
        about = entry.as_json()
        table.add_row(name, verdict_line(about) if entry.verdict else part_line(about))
    for name, why in bundle.file.left_out.items():
        table.add_row(name, Text(f"left out: {why}", "dim"))
    console.print(table)


def verdict_line(entry: Mapping[str, Any]) -> Text:
    """Whether a part is good enough to trust, and why."""
    good = entry["verdict"] == "good"
    return Text.assemble((f"{entry['verdict']}: ", "green" if good else "bold yellow"), entry["because"])


def print_checked(console: Console, checked: InitReport) -> None:
    """What `cfx init` found out."""
    about = checked.file
    table = _grid()
    size = "x".join(map(str, about.shape[1:]))
    colours = "grey" if about.shape[0] == 1 else "colour"
    counts = zip(checked.images.classes, checked.images.counts().tolist(), strict=True)
    each = [f"{name} {count}" for name, count in counts]
    table.add_row("images", Text(f"{len(checked.images)} in {colours}, read as {size} (height x width)"))
    table.add_row("classes", Text(f"{len(each)}: {few(each, 12)}"))
    entry = about.parts["classifier"].foreign if "classifier" in about.parts else None
    if checked.accuracy is None or entry is None:
        table.add_row("classifier", Text("none given: cfx train trains one"))
    else:
        right = f"right on {checked.accuracy:.1%} of {checked.looked_at} labelled images"
        table.add_row("classifier", Text(f"{entry.name} ({entry.kind}): {right}"))
        said = "; ".join(f"{is_} seen as {seen} ({count})" for count, is_, seen in checked.confusions)
        table.add_row("mistakes", Text(said or "none"))
    console.print(Text(f"bundle {about.name} begun in {checked.directory}"), table, sep="\n")
    console.print(Text(f"next: cfx train {checked.directory} --budget 20m", "dim"))


def part_line(entry: Mapping[str, Any]) -> Text:
    """Architecture, checksum and measurements of one part of a bundle."""
    values = {key.replace("_", " "): value for key, value in entry.get("measured", {}).items()}
    measured = ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in values.items()
    )
    digest = f"  sha256 {entry['sha256'][:12]}" if entry.get("sha256") else ""
    return Text.assemble(entry["architecture"], (f"{digest}  ", "dim"), measured)


def print_information(console: Console, information: Mapping[str, Any]) -> None:
    """What `cfx info` found out."""
    torch = information["torch"] or "missing"
    console.print(Text(f"cfx {information['version']}, Python {information['python']}, torch {torch}"))
    tables = {title: _grid() for title in ("devices", "engines", "bundles", "not available")}
    for device in information["devices"]:
        state = ("available", "green") if device["available"] else ("not available", "dim")
        tables["devices"].add_row(device["name"], Text.assemble(state, "  ", device["detail"]))
    for engine in information["engines"]:
        mark = " (default)" if engine["default"] else " (control)" if engine["control"] else ""
        needs = ", ".join(engine["needs"]) or "no model"
        about = Text.assemble(engine["summary"], (f"\nneeds {needs}; {engine['paper']}", "dim"))
        tables["engines"].add_row(engine["name"] + mark, about)
    for bundle in information["bundles"]:
        intact = ("files verified (sha256)", "green") if bundle["verified"] else (bundle["problem"], "bold red")
        shape = "x".join(str(side) for side in bundle["shape"])
        about = f"{shape} pixels, {len(bundle['classes'])} classes: {', '.join(bundle['classes'])}\n"
        about = Text.assemble(about, f"{bundle['directory']}, {bundle['bytes'] / 1e6:.1f} MB\n", intact)
        tables["bundles"].add_row(bundle["name"], about)
        for name, part in bundle["parts"].items():
            tables["bundles"].add_row(f"  {name}", verdict_line(part) if part.get("verdict") else part_line(part))
    for missing in information["unavailable"]:
        tables["not available"].add_row(missing["what"], Text(missing["why"]))
    for title, table in tables.items():
        if table.row_count:
            console.print()
            console.print(Text(title, "bold"))
            console.print(table)


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table
