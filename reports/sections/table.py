"""Table: the figures of a run, metrics down, engines across, over the common pairs or each engine's valid pairs."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import ClassVar

from ...metrics.catalogue import Group, Metric
from ..section import Section
from ..summary import Basis, EngineSummary, Summary
from ..tables import Cell, FigureTable, table_on
from .basis import VIEWS

OF: dict[Basis, str] = {"all": "all pairs", "valid": "its own valid pairs", "common": "common pairs"}


@dataclass(frozen=True, kw_only=True)
class MetricTable(Section):
    """The table on both bases, of which `BasisChoice` shows one at a time.

    Attributes:
        summary: the summary of the run.
    """

    summary: Summary
    assets: ClassVar[tuple[str, ...]] = ("table.css",)

    def html(self) -> str:
        return "".join(
            f'<div class="of-{view}"><p class="basis-note">{_about(self.summary, view)}</p>'
            f"{table(table_on(self.summary, view))}</div>"
            for view in VIEWS
        )


def _about(summary: Summary, view: Basis) -> str:
    rest = " Controls are over all of their answers." if summary.controls else ""
    if any(engine.pool is not None for engine in summary.engines.values()):
        rest += " <em>Of N</em>: chosen from N real images."
    compared = ", ".join(escape(name) for name in summary.compared) or "all"
    if view == "valid":
        return (
            "<strong>Each engine over the pairs that it solved itself.</strong> These figures describe an engine, but "
            "do not compare it with others: an engine that solves only easy questions looks better here than it is "
            f"(survivor bias).{rest}"
        )
    unsolved = " Pairs that an engine failed on are left out; the row <em>valid</em> is over all pairs."
    unsolved = unsolved if summary.pairs and summary.common_pairs < summary.pairs else ""
    return (
        f"<strong>Over the {summary.common_pairs:,} of {(summary.pairs or 0):,} pairs that every compared engine "
        f"solved</strong> ({compared}): the same questions for all, so that engines can be compared.{unsolved}{rest}"
    )


def table(figures: FigureTable) -> str:
    """The table: metrics down, engines across. The best of the compared engines is marked in each row."""
    engines = figures.summary.engines
    heads = "".join(_head(name, about) for name, about in engines.items())
    body = []
    for group in Group:
        rows = [_row(figures, metric) for metric in figures.rows if metric.group is group]
        if rows:
            head = f'<tr class="group"><th colspan="{len(engines) + 1}" scope="rowgroup">{group}</th></tr>'
            body.append(f"<tbody>{head}{''.join(rows)}</tbody>")
    return (
        '<div class="scroll" role="region" aria-label="Metrics by engine" tabindex="0"><table><thead><tr>'
        f'<th scope="col">metric</th>{heads}</tr></thead>{"".join(body)}</table></div>'
    )


def _head(name: str, about: EngineSummary) -> str:
    if about.control:
        return f'<th scope="col" class="control">{escape(name)}<small>{about.kind}</small></th>'
    return f'<th scope="col">{escape(name)}<small>{about.valid:,} of {about.pairs:,} valid</small></th>'


def _row(figures: FigureTable, metric: Metric) -> str:
    """The row of one metric."""
    engines, cells = figures.summary.engines, figures.rows[metric]
    compared = (cell for name, cell in cells.items() if not engines[name].control)
    bases: list[Basis] = [cell.basis for cell in compared if cell.basis is not None]
    of = OF[bases[0]] if bases else OF["all"]
    way = f"{metric.better} is better" if metric.better else "neither direction is better"
    arrow = {"higher": "↑", "lower": "↓", None: ""}[metric.better]
    drawn = "".join(_cell(figures.summary, name, cell) for name, cell in cells.items())
    return (
        f'<tr><th scope="row">{escape(metric.label)}&nbsp;<span title="{way}" aria-hidden="true">{arrow}</span>'
        f'<span class="hidden">{way}</span><small>{of}</small></th>{drawn}</tr>'
    )


def _cell(summary: Summary, engine: str, cell: Cell) -> str:
    about, found, metric = summary.engines[engine], cell.figure, cell.metric
    kind = "control" if about.control else "best" if cell.best else ""
    if found is None:
        return f'<td class="{kind}">-</td>'
    mean = metric.shown(found.mean)
    lines = [f'<strong>{mean}</strong><span class="hidden"> best</span>' if cell.best else mean]
    if found.low is not None and found.high is not None:
        low, high = metric.shown(found.low).removesuffix(" %"), metric.shown(found.high)
        lines.append(f"<small>{low} to {high}</small>")
    expected = {"all": about.pairs, "valid": about.valid, "common": summary.common_pairs}
    if found.count != expected[cell.basis or "all"]:
        lines.append(f"<small>of {found.count:,} that have a value</small>")
    middle = ""
    if found.median is not None and found.p95 is not None and not metric.yes_or_no:
        middle = f"median {metric.shown(found.median)}, 95th percentile {metric.shown(found.p95)}, "
    return f'<td class="{kind}" title="{middle}{found.count:,} pairs">{"".join(lines)}</td>'
