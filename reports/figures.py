"""The figures of a run as HTML: a table and trade-off plots, over the common pairs or each engine's valid pairs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..metrics.catalogue import BY_NAME, Group, Metric
from ..runs.gates import Outcome
from .plots import Point, Span, trade_off
from .summary import Basis, EngineSummary, Summary
from .tables import Cell, FigureTable, table_on

VIEWS: tuple[Basis, Basis] = ("common", "valid")
OF: dict[Basis, str] = {"all": "all pairs", "valid": "its own valid pairs", "common": "common pairs"}
TRADED = ("validity", "judge_agrees", "looks_real")
AGAINST = {"l1": False, "images_per_second": True}
"""The costs on the x axes of the trade-offs, and whether each axis is logarithmic."""


def figures(summary: Summary) -> str:
    """The section with the table, the plots and the notes, for both bases. The page shows one basis at a time."""
    notes = "".join(f"<li>{escape(note)}</li>" for note in summary.notes)
    notes = notes and f'<h3>Notes</h3><ul class="notes">{notes}</ul>'
    views = "".join(
        f'<div class="of-{view}"><p class="basis-note">{_about(summary, view)}</p>'
        f"{table(table_on(summary, view))}{plots(summary, view)}</div>"
        for view in VIEWS
    )
    return (
        '<section aria-labelledby="figures"><h2 id="figures">Figures</h2>'
        '<fieldset class="basis"><legend>Computed over</legend>'
        '<label><input type="radio" name="basis" value="common"> pairs that all engines solved</label>'
        '<label><input type="radio" name="basis" value="valid"> each engine\'s own valid pairs</label></fieldset>'
        f"{gates(summary.gates)}{views}{notes}</section>"
    )


def gates(outcomes: Sequence[Outcome]) -> str:
    """The gates of the last command as a list, the failed ones marked."""
    if not outcomes:
        return ""
    lines = "".join(
        f'<li class="{"passed" if outcome.passed else "failed"}">{escape(outcome.says)}</li>' for outcome in outcomes
    )
    return f'<h3>Gates</h3><ul class="gates">{lines}</ul>'


def _about(summary: Summary, view: Basis) -> str:
    controls = bool(summary.controls)
    rest = " Controls are over all of their answers." if controls else ""
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
        return f'<th scope="col" class="control">{escape(name)}<small>control</small></th>'
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


def plots(summary: Summary, view: Basis) -> str:
    """The trade-off plots, with and without the controls, which lie far from everything else."""
    engines = summary.engines
    compared = [name for name in engines if not engines[name].control]
    if len(compared) in (0, len(engines)):
        return f'<h3>Trade-offs</h3><div class="plots">{_plots(summary, view, list(engines))}</div>'
    return (
        '<h3>Trade-offs</h3><label class="choice"><input type="checkbox" name="controls"> with controls '
        "(hollow points)</label>"
        f'<div class="plots engines-only">{_plots(summary, view, compared)}</div>'
        f'<div class="plots with-controls">{_plots(summary, view, list(engines))}</div>'
    )


def _plots(summary: Summary, view: Basis, names: Sequence[str]) -> str:
    result = []
    for against, log in AGAINST.items():
        for traded in TRADED:
            points, missing = [], []
            for name in names:
                x, y = (summary.engines[name].estimate(metric, view) for metric in (against, traded))
                if x is None or y is None or (log and x.mean <= 0):
                    missing.append(name)
                    continue
                spans = (Span(e.mean, e.low, e.high) for e in (x, y))
                points.append(Point(name, summary.engines[name].control, *spans))
            if points:
                drawn = trade_off(points, BY_NAME[against], BY_NAME[traded], log=log)
                absent = f" (no value: {escape(', '.join(missing))})" if missing else ""
                caption = f"{BY_NAME[traded].label} against {BY_NAME[against].label}{absent}"
                result.append(f"<figure>{drawn}<figcaption>{caption}</figcaption></figure>")
    return "".join(result)
