"""The figures of a summary as tables for the terminal and for HTML, and as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

from ..intervals import Estimate
from ..metrics.catalogue import METRICS, Metric
from .summary import Basis, Summary

ARROWS = {"higher": "↑", "lower": "↓", None: " "}


@dataclass(frozen=True)
class Cell:
    """One figure of one engine.

    Attributes:
        metric: the metric.
        figure: the mean with its interval; None if it has no value.
        basis: the basis of the figure; None if the engine does not have this metric.
        best: whether it is the best of the compared engines.
    """

    metric: Metric
    figure: Estimate | None
    basis: Basis | None
    best: bool

    @property
    def mean(self) -> str:
        """The mean as it is printed."""
        return "n/a" if self.figure is None else self.metric.shown(self.figure.mean)

    @property
    def interval(self) -> tuple[str, str] | None:
        """Both ends of the interval as they are printed, without a unit; None if there is none or both are equal."""
        figure = self.figure
        if figure is None or figure.low is None or figure.high is None or figure.low == figure.high:
            return None
        low, high = (self.metric.shown(side).removesuffix(" %") for side in (figure.low, figure.high))
        return low, high

    @property
    def lines(self) -> tuple[str, str]:
        """The mean and its interval, such as "97.5 %" and "96.3 - 98.3"; the latter is "" if there is no interval."""
        return self.mean, " - ".join(self.interval or ())


@dataclass(frozen=True)
class FigureTable:
    """A table with metrics down and engines across.

    Attributes:
        summary: the summary that the figures come from.
        basis: the basis of all metrics that are computed over it.
        rows: a cell for each engine, by metric.
    """

    summary: Summary
    basis: Basis
    rows: Mapping[Metric, Mapping[str, Cell]]

    @property
    def heading(self) -> str:
        """A sentence that says which questions the table is computed over."""
        if self.basis == "valid":
            return "each engine's own valid pairs; an engine that solved only easy pairs looks better here"
        pairs, shared = self.summary.pairs, self.summary.common_pairs
        return f"the {shared} of {pairs} pairs that all compared engines solved"


def table_on(summary: Summary, basis: Basis) -> FigureTable:
    """A table with every metric that at least one engine has."""
    rows: dict[Metric, dict[str, Cell]] = {}
    for metric in METRICS:
        if not any(metric.name in engine.metrics for engine in summary.engines.values()):
            continue
        best = summary.best(metric.name, basis)
        rows[metric] = {
            name: Cell(metric, engine.estimate(metric.name, basis), engine.basis_of(metric.name, basis), name in best)
            for name, engine in summary.engines.items()
        }
    return FigureTable(summary, basis, rows)


def tables(summary: Summary) -> list[FigureTable]:
    """The tables to show, without metrics that no engine has a figure for. LPIPS is always shown.

    If every engine's valid pairs are the common pairs, there is only one table, because both would be the same.
    """
    engines = [engine for engine in summary.engines.values() if not engine.control]
    if not summary.common_pairs:
        bases: list[Basis] = ["valid"]
    elif all(engine.valid == summary.common_pairs for engine in engines):
        bases = ["common"]
    else:
        bases = ["common", "valid"]
    return [shown(table_on(summary, basis)) for basis in bases]


def shown(table: FigureTable) -> FigureTable:
    """The table with only the rows that have a figure, and LPIPS."""
    rows = {
        metric: cells
        for metric, cells in table.rows.items()
        if metric.name == "lpips" or any(cell.figure is not None for cell in cells.values())
    }
    return FigureTable(table.summary, table.basis, rows)


def as_markdown(summary: Summary) -> str:
    """The tables as Markdown."""
    lines: list[str] = []
    for table in tables(summary):
        names = [f"`{name}`" + (f" ({engine.kind})" if engine.kind else "") for name, engine in summary.engines.items()]
        lines += [f"{table.heading.capitalize()}:", "", "| | " + " | ".join(names) + " |"]
        lines.append("|---" * (len(names) + 1) + "|")
        for metric, cells in table.rows.items():
            texts = []
            for cell in cells.values():
                mean, interval = cell.lines
                texts.append((f"**{mean}**" if cell.best else mean) + (f" ({interval})" if interval else ""))
            lines.append(f"| {metric.label} {ARROWS[metric.better]} | " + " | ".join(texts) + " |")
        lines.append("")
    return "\n".join(lines).rstrip("\n")


VALUES = ("mean", "low", "high", "median", "p95", "count")


def as_csv(summary: Summary) -> str:
    """The summary as CSV, one line for each engine, metric and basis. The column `pairs` names the basis."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["engine", "control", "metric", "pairs", *VALUES])
    for name, engine in summary.engines.items():
        for metric, figures in engine.metrics.items():
            for basis, figure in figures.items():
                found = [None if figure is None else getattr(figure, value) for value in VALUES]
                cells = ["" if value is None else value for value in found]
                writer.writerow([name, str(engine.control).lower(), metric, basis, *cells])
    return text.getvalue()
