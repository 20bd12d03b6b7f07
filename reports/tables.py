"""The figures of a summary as one table, which the terminal, markdown, CSV and HTML draw, each in its way."""

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
        metric: what is measured.
        figure: with its interval; None where it could not be had.
        basis: on which it is told; None where it is not told at all.
        best: whether it is the best of the compared engines.
    """

    metric: Metric
    figure: Estimate | None
    basis: Basis | None
    best: bool

    @property
    def mean(self) -> str:
        """As it is printed."""
        return "n/a" if self.figure is None else self.metric.shown(self.figure.mean)

    @property
    def interval(self) -> tuple[str, str] | None:
        """Both ends as they are printed, without a unit; None where there is none, or both are alike."""
        figure = self.figure
        if figure is None or figure.low is None or figure.high is None or figure.low == figure.high:
            return None
        low, high = (self.metric.shown(side).removesuffix(" %") for side in (figure.low, figure.high))
        return low, high

    @property
    def lines(self) -> tuple[str, str]:
        """A mean and its interval, such as "97.5 %" and "96.3 - 98.3"; "" where there is no interval."""
        return self.mean, " - ".join(self.interval or ())


@dataclass(frozen=True)
class FigureTable:
    """Metrics down, engines across.

    Attributes:
        summary: whose figures they are.
        basis: the questions that are looked at, where a metric is told on them.
        rows: a cell for each engine, by metric.
    """

    summary: Summary
    basis: Basis
    rows: Mapping[Metric, Mapping[str, Cell]]

    @property
    def heading(self) -> str:
        """Which questions it is of."""
        if self.basis == "valid":
            return "each engine's own valid counterfactuals: easy pairs flatter whoever solved only those"
        pairs, shared = self.summary.pairs, self.summary.common_pairs
        return f"the {shared} of {pairs} pairs that all compared engines solved"


def table_on(summary: Summary, basis: Basis) -> FigureTable:
    """Every metric that any engine was measured by."""
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
    """The tables to show, without metrics that nobody has a figure of (but LPIPS, whose absence is worth a line).

    One where all engines' valid pairs are the common ones, since both say the same.
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
    """The rows that have a figure."""
    rows = {
        metric: cells
        for metric, cells in table.rows.items()
        if metric.name == "lpips" or any(cell.figure is not None for cell in cells.values())
    }
    return FigureTable(table.summary, table.basis, rows)


def as_markdown(summary: Summary) -> str:
    """The tables of the terminal, for a README."""
    lines: list[str] = []
    for table in tables(summary):
        names = [f"`{name}`" + (" (control)" if e.control else "") for name, e in summary.engines.items()]
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


VALUES = ("mean", "low", "high", "median", "count")


def as_csv(summary: Summary) -> str:
    """One line for each engine, metric and basis; the column `pairs` names the basis."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["engine", "control", "metric", "pairs", *VALUES])
    for name, engine in summary.engines.items():
        for metric, told in engine.metrics.items():
            for basis, figure in told.items():
                found = [None if figure is None else getattr(figure, value) for value in VALUES]
                cells = ["" if value is None else value for value in found]
                writer.writerow([name, str(engine.control).lower(), metric, basis, *cells])
    return text.getvalue()
