"""Trade-offs: plots of a run's validity and realism against distance and speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import ClassVar, Literal

from ...metrics.catalogue import BY_NAME
from ..axes import Span
from ..plots import Point, trade_off
from ..section import Section
from ..summary import Basis, Summary
from .basis import VIEWS

TRADED = ("validity", "judge_agrees", "looks_real")
AGAINST = {"l1": False, "images_per_second": True}
"""The costs on the x axes of the trade-offs, and whether each axis is logarithmic."""

CHOICE = """<label class="choice"><input type="checkbox" name="controls"> with controls (hollow points)</label>"""


@dataclass(frozen=True, kw_only=True)
class TradeOffs(Section):
    """The plots on both bases, with and without the controls, which lie far from everything else.

    Attributes:
        summary: the summary of the run.
    """

    summary: Summary
    title: str = "Trade-offs"
    level: Literal[2, 3] = 3
    assets: ClassVar[tuple[str, ...]] = ("plots.css",)

    def html(self) -> str:
        engines = self.summary.engines
        compared = [name for name in engines if not engines[name].control]
        if len(compared) in (0, len(engines)):
            return "".join(_plots(self.summary, view, list(engines)) for view in VIEWS)
        return CHOICE + "".join(
            _plots(self.summary, view, compared, "engines-only")
            + _plots(self.summary, view, list(engines), "with-controls")
            for view in VIEWS
        )


def _plots(summary: Summary, view: Basis, names: Sequence[str], kind: str = "") -> str:
    """The plots of some engines on one basis."""
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
    classes = f"plots of-{view}{kind and f' {kind}'}"
    return f'<div class="{classes}">{"".join(result)}</div>'
