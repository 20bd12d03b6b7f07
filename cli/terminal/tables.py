"""Prints summaries, in every format, and changes between runs for `cfx bench` and `cfx compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...intervals import Estimate
from ...metrics.catalogue import METRICS, Metric
from ...reports.summary import Summary
from ...reports.tables import ARROWS, Cell, FigureTable, as_csv, as_markdown, tables
from .terminal import Terminal


def print_summary(terminal: Terminal, summary: Summary, format: str) -> None:
    """Print the summary on stdout as a table, JSON, CSV or Markdown."""
    if format == "json":
        terminal.json(summary.as_json())
        return
    if format == "csv":
        terminal.line(as_csv(summary).rstrip("\n"))
    elif format == "markdown":
        terminal.line(as_markdown(summary))
    else:
        print_tables(terminal.out, summary)
    for note in summary.notes:
        terminal.note(note)


def print_tables(console: Console, summary: Summary) -> None:
    """Print a table for each basis: metrics down, engines across, the best of each row bold, folded if too wide."""
    for number, table in enumerate(tables(summary)):
        rows = {
            metric: cells
            for metric, cells in table.rows.items()
            # Metrics over all pairs are printed in the first table only.
            if number == 0 or any(cell.basis == table.basis for cell in cells.values())
        }
        table = FigureTable(summary, table.basis, rows)
        console.print(Text(table.heading, "bold"))
        for engines in folded(console, table):
            console.print(rich_table(table, engines), "", sep="\n")
    console.print(
        Text(
            "↑ higher is better, ↓ lower; mean and 95 % interval; bold: the best engine, without controls; "
            "validity, cost and the controls are over all pairs; of N: chosen from N real images; docs/metrics.md "
            "explains each metric",
            "dim",
        )
    )


def folded(console: Console, table: FigureTable) -> list[list[str]]:
    """The engines in groups, each as large as the console's width allows."""
    label = 2 + max(len(metric.label) for metric in table.rows) + 2
    room, groups = 0, list[list[str]]()
    for engine in table.summary.engines:
        kind = f"({table.summary.engines[engine].kind})"
        needed = 2 + max(len(line) for cells in table.rows.values() for line in (*cells[engine].lines, engine, kind))
        if not groups or needed > room:
            groups.append([])
            room = console.width - label
        groups[-1].append(engine)
        room -= needed
    return groups


def rich_table(table: FigureTable, engines: Sequence[str]) -> Table:
    """A table of some engines, with each interval below its mean."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 1))
    drawn.add_column("", no_wrap=True)
    for engine in engines:
        kind = table.summary.engines[engine].kind
        drawn.add_column(f"{engine}\n({kind})" if kind else engine, justify="right", no_wrap=True)
    group = None
    for metric, cells in table.rows.items():
        if group is not None and metric.group is not group:
            drawn.add_row()
        group = metric.group
        label = Text.assemble((f"{ARROWS[metric.better]} ", "dim"), metric.label)
        drawn.add_row(label, *(rich_cell(cells[engine]) for engine in engines))
    return drawn


def rich_cell(cell: Cell) -> Text:
    """A mean, bold if it is the best, and its interval."""
    mean, interval = cell.lines
    text = Text(mean, "bold" if cell.best else "")
    return Text.assemble(text, (f"\n{interval}", "dim")) if interval else text


def print_changes(terminal: Terminal, changed: Mapping[tuple[str, str], Estimate | None], what: str) -> None:
    """Print paired differences by engine and metric. Those whose interval excludes zero are coloured."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    engines = list(dict.fromkeys(engine for engine, _ in changed))
    for name in ("", *engines):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for metric in METRICS:
        found = [changed.get((engine, metric.name)) for engine in engines]
        if any(change is not None for change in found):
            table.add_row(f"{ARROWS[metric.better]} {metric.label}", *(change_cell(metric, c) for c in found))
    title = f"{what}, on the same pairs; mean difference [95 % paired interval]"
    terminal.out.print("", Text(title, "bold"), table, sep="\n")


def change_cell(metric: Metric, change: Estimate | None) -> Text:
    """A difference with its interval; if the interval excludes zero, green for better and red for worse."""
    if change is None:
        return Text("n/a", "dim")
    if not change.mean and not change.low and not change.high:
        return Text("same", "dim")
    if metric.of_batch or change.low is None or change.high is None:
        return Text(f"{change.mean:+.3g}")
    sure = change.low > 0 or change.high < 0
    worse = (change.mean > 0) == (metric.better == "lower")
    style = "" if not sure or metric.better is None else "red" if worse else "green"
    return Text(f"{change.mean:+.3g} [{change.low:+.3g}, {change.high:+.3g}]", style)
