"""What `cfx bench` and `cfx compare` draw in the terminal: the live progress, the tables, the other formats."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from ..benchmarks.records import Record
from ..benchmarks.run import Run
from ..benchmarks.summary import basis_of, best, estimate
from ..intervals import Estimate
from ..metrics.catalogue import METRICS, Metric
from .render import Screen

ARROWS = {"higher": "↑", "lower": "↓", None: " "}
COMMON, VALID = "common", "valid"


class BenchScreen:
    """A bar an engine on stderr: done, rate, time left, validity so far. Nothing where there is no terminal."""

    def __init__(self, screen: Screen, run: Run, engines: Sequence[str]) -> None:
        self.note = screen.note
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False, style="dim"),
            TextColumn("{task.fields[left]}", markup=False, style="dim"),
            TextColumn("{task.fields[validity]}", markup=False),
            console=screen.err,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not screen.interactive,
        )
        total = len(run.pairs)
        self._tasks: dict[str, TaskID] = {}
        self._total = total
        self._valid = dict.fromkeys(engines, 0)
        self._done = dict.fromkeys(engines, 0)
        self._timed: dict[str, tuple[int, float]] = dict.fromkeys(engines, (0, 0.0))
        for record in run.records():
            if record.engine in self._done:
                self._done[record.engine] += 1
                self._valid[record.engine] += record.valid
        for name in engines:
            self._tasks[name] = self._progress.add_task(
                name, total=total, completed=self._done[name], rate="", left="", validity=self._validity(name)
            )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def done(self, engine: str, records: Sequence[Record], seconds: float) -> None:
        """Count a batch."""
        self._done[engine] += len(records)
        self._valid[engine] += sum(record.valid for record in records)
        before, spent = self._timed[engine]
        self._timed[engine] = before + len(records), spent + seconds
        timed, spent = self._timed[engine]
        rate = timed / spent if spent else 0.0
        left = (self._total - self._done[engine]) / rate if rate else 0.0
        self._progress.update(
            self._tasks[engine],
            completed=self._done[engine],
            rate=f"{rate:.1f}/s",
            left=f"{int(left) // 60}:{int(left) % 60:02d} left",
            validity=self._validity(engine),
        )

    def _validity(self, engine: str) -> str:
        done = self._done[engine]
        return f"valid {100 * self._valid[engine] / done:.1f} %" if done else ""


def print_summary(screen: Screen, summary: Mapping[str, Any], format: str) -> None:
    """The summary on stdout, in one of `TABLE_FORMATS`."""
    if format == "json":
        screen.line(json.dumps(summary, ensure_ascii=False))
    elif format == "csv":
        screen.line(as_csv(summary).rstrip("\n"))
    elif format == "markdown":
        screen.line(as_markdown(summary))
    else:
        print_tables(screen.out, summary)
    if format != "json":
        for note in summary["notes"]:
            screen.note(note)


def bases(summary: Mapping[str, Any]) -> list[str]:
    """The bases to show: one where all engines' valid pairs are the common ones, since both say the same."""
    engines = [about for about in summary["engines"].values() if not about["control"]]
    if not summary["common_pairs"]:
        return [VALID]
    if all(about["valid"] == summary["common_pairs"] for about in engines):
        return [COMMON]
    return [COMMON, VALID]


def heading(summary: Mapping[str, Any], basis: str) -> str:
    """Which pairs a table is of."""
    if basis == VALID:
        return "each engine's own valid counterfactuals: easy pairs flatter whoever solved only those"
    pairs, shared = summary["pairs"], summary["common_pairs"]
    return f"the {shared} of {pairs} pairs that all compared engines solved"


def rows(summary: Mapping[str, Any], basis: str) -> list[tuple[Metric, dict[str, Mapping[str, Any] | None]]]:
    """Each metric that anyone has, with its figure by engine."""
    result = []
    for metric in METRICS:
        found = {engine: estimate(summary, engine, metric.name, basis) for engine in summary["engines"]}
        if any(figure is not None for figure in found.values()) or metric.name == "lpips":
            result.append((metric, found))
    return result


def print_tables(console: Console, summary: Mapping[str, Any]) -> None:
    """For each basis a table, metrics down, engines across, the best of each row bold; folded where it is too wide."""
    shown = bases(summary)
    for basis in shown:
        told = [
            (metric, found)
            for metric, found in rows(summary, basis)
            # What is told over all pairs stands in the first table only.
            if basis == shown[0] or any(_basis(summary, e, metric, basis) == basis for e in found)
        ]
        console.print(Text(heading(summary, basis), "bold"))
        for engines in folded(console, summary, told):
            console.print(table_of(summary, engines, told, basis), "", sep="\n")
    console.print(
        Text(
            "↑ higher is better, ↓ lower; mean and 95 % interval; bold: the best engine, controls apart; validity and "
            "cost are of all pairs, controls' figures too; what each means: docs/metrics.md",
            "dim",
        )
    )


Told = Sequence[tuple[Metric, Mapping[str, Mapping[str, Any] | None]]]
"""Metrics with their figures by engine."""


def folded(console: Console, summary: Mapping[str, Any], told: Told) -> list[list[str]]:
    """The engines in groups of as many as fit side by side."""
    label = 2 + max(len(metric.label) for metric, _ in told) + 2
    room, groups = 0, list[list[str]]()
    for engine in summary["engines"]:
        needed = 2 + max(
            len(line) for metric, found in told for line in (*cell(metric, found[engine]), engine, "(control)")
        )
        if not groups or needed > room:
            groups.append([])
            room = console.width - label
        groups[-1].append(engine)
        room -= needed
    return groups


def table_of(summary: Mapping[str, Any], engines: Sequence[str], told: Told, basis: str) -> Table:
    """Some engines side by side; intervals stand below their means."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("", no_wrap=True)
    for engine in engines:
        control = summary["engines"][engine]["control"]
        table.add_column(f"{engine}\n(control)" if control else engine, justify="right", no_wrap=True)
    group = None
    for metric, found in told:
        if group is not None and metric.group is not group:
            table.add_row()
        group, top = metric.group, best(summary, metric.name, basis)
        cells = []
        for engine in engines:
            mean, interval = cell(metric, found[engine])
            text = Text(mean, "bold" if engine in top else "")
            cells.append(Text.assemble(text, (f"\n{interval}", "dim")) if interval else text)
        table.add_row(Text.assemble((f"{ARROWS[metric.better]} ", "dim"), metric.label), *cells)
    return table


def _basis(summary: Mapping[str, Any], engine: str, metric: Metric, wanted: str) -> str | None:
    return basis_of(summary["engines"][engine]["metrics"], metric.name, wanted)


def cell(metric: Metric, figure: Mapping[str, Any] | None) -> tuple[str, str]:
    """A mean and its interval, such as "97.5 %" and "96.3 - 98.3"; "" where there is no interval."""
    if figure is None:
        return "n/a", ""
    if figure["low"] is None or figure["low"] == figure["high"]:
        return metric.shown(figure["mean"]), ""
    low, high = (metric.shown(figure[side]).removesuffix(" %") for side in ("low", "high"))
    return metric.shown(figure["mean"]), f"{low} - {high}"


def as_markdown(summary: Mapping[str, Any]) -> str:
    """The tables of the terminal, for a README."""
    lines: list[str] = []
    for basis in bases(summary):
        names = [f"`{name}`" + (" (control)" if a["control"] else "") for name, a in summary["engines"].items()]
        lines += [f"{heading(summary, basis).capitalize()}:", "", "| | " + " | ".join(names) + " |"]
        lines.append("|---" * (len(names) + 1) + "|")
        for metric, found in rows(summary, basis):
            top = best(summary, metric.name, basis)
            cells = []
            for engine, figure in found.items():
                mean, interval = cell(metric, figure)
                cells.append((f"**{mean}**" if engine in top else mean) + (f" ({interval})" if interval else ""))
            lines.append(f"| {metric.label} {ARROWS[metric.better]} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip("\n")


COLUMNS = ("engine", "control", "metric", "pairs", "mean", "low", "high", "median", "count")


def as_csv(summary: Mapping[str, Any]) -> str:
    """One line for each engine, metric and basis; the column `pairs` names the basis."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for engine, about in summary["engines"].items():
        for name, told in about["metrics"].items():
            for basis, figure in told.items():
                values = ["" if figure is None or figure[k] is None else figure[k] for k in COLUMNS[4:]]
                writer.writerow([engine, str(about["control"]).lower(), name, basis, *values])
    return text.getvalue()


def print_changes(screen: Screen, changed: Mapping[tuple[str, str], Estimate | None], baseline: Path) -> None:
    """How each metric changed against an earlier run, pair by pair; only what is beyond its interval is coloured."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    engines = list(dict.fromkeys(engine for engine, _ in changed))
    for name in ("", *engines):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for metric in METRICS:
        found = [changed.get((engine, metric.name)) for engine in engines]
        if any(change is not None for change in found):
            table.add_row(f"{ARROWS[metric.better]} {metric.label}", *(change_cell(metric, c) for c in found))
    title = f"change against {baseline}, on the same pairs; mean difference [95 % paired interval]"
    screen.out.print("", Text(title, "bold"), table, sep="\n")


def change_cell(metric: Metric, change: Estimate | None) -> Text:
    """A difference: green where it is better beyond its interval, red where it is worse."""
    if change is None:
        return Text("n/a", "dim")
    if not change.mean and not change.low and not change.high:
        return Text("same", "dim")
    if change.low is None or change.high is None:
        return Text(f"{change.mean:+.3g}")
    sure = change.low > 0 or change.high < 0
    worse = (change.mean > 0) == (metric.better == "lower")
    style = "" if not sure or metric.better is None else "red" if worse else "green"
    return Text(f"{change.mean:+.3g} [{change.low:+.3g}, {change.high:+.3g}]", style)
