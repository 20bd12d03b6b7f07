"""Curve: lines with interval bands, such as accuracy against a factor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import ClassVar, NamedTuple

from ...metrics.measure import Measure
from ..axes import FRAME, Scale, Span, draw_axes, printed, scale_for, svg
from ..kinds import colour, dashes, legend_of_lines
from ..section import Section


class CurvePoint(NamedTuple):
    """A point of a line: a mean at `x` and its interval; None if it has no interval."""

    x: float
    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def span(self) -> Span:
        """The mean with its interval."""
        return Span(self.mean, self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class Curve(Section):
    """Lines in one plot, each with its band; the numbers are in a table below.

    Attributes:
        series: the points of each line, by its name, in the order of x. The section is left out if there are none.
        x, y: what is plotted.
        text: a sentence above the plot; "" for none.
        log: whether the x axis is logarithmic.

    Raises:
        ValueError: a number is not finite, or an x on a logarithmic axis is not positive.
    """

    series: Mapping[str, Sequence[CurvePoint]]
    x: Measure
    y: Measure
    text: str = ""
    log: bool = False
    assets: ClassVar[tuple[str, ...]] = ("plots.css",)

    def __post_init__(self) -> None:
        for point in self._points:
            if not all(math.isfinite(value) for value in point if value is not None) or (self.log and point.x <= 0):
                raise ValueError(
                    f"{point} cannot be drawn: its numbers are finite, and x positive on a logarithmic axis"
                )

    def html(self) -> str:
        if not self._points:
            return ""
        text = f"<p>{escape(self.text)}</p>" if self.text else ""
        legend = legend_of_lines({name: len(points) for name, points in self.series.items()})
        return f'{text}<div class="plotted"><figure>{self._plot()}</figure><div>{legend}{self._table()}</div></div>'

    @property
    def _points(self) -> list[CurvePoint]:
        return [point for points in self.series.values() for point in points]

    def _plot(self) -> str:
        across = scale_for([Span(point.x) for point in self._points], self.x, FRAME.left, FRAME.right, log=self.log)
        up = scale_for([point.span for point in self._points], self.y, FRAME.bottom, FRAME.top)
        lines = draw_axes(across, up, self.x, self.y)
        drawn = list(enumerate(self.series.values()))
        lines += [_band(kind, points, across, up) for kind, points in drawn]  # below all lines
        for kind, points in drawn:
            lines.append(_line(kind, points, across, up))
            lines += [self._mark(kind, point, across, up) for point in points]
        return svg(f"{self.y.label} against {self.x.label}: {', '.join(self.series)}. A table has the numbers.", lines)

    def _mark(self, kind: int, point: CurvePoint, across: Scale, up: Scale) -> str:
        about = f"{self.x.label} {self.x.shown(point.x)}: {self.y.label} {printed(point.span, self.y)}"
        return (
            f'<circle class="mark {colour(kind)}" cx="{across(point.x):.1f}" cy="{up(point.mean):.1f}" r="3">'
            f"<title>{escape(about)}</title></circle>"
        )

    def _table(self) -> str:
        heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.series)
        by_x: dict[float, dict[str, CurvePoint]] = {}
        for name, points in self.series.items():
            for point in points:
                by_x.setdefault(point.x, {})[name] = point
        rows = ""
        for x in sorted(by_x):
            there = [by_x[x].get(name) for name in self.series]
            shown = ("-" if point is None else escape(printed(point.span, self.y)) for point in there)
            cells = "".join(f"<td>{text}</td>" for text in shown)
            rows += f'<tr><th scope="row">{escape(self.x.shown(x))}</th>{cells}</tr>'
        label = escape(f"{self.y.label} against {self.x.label}")
        return (
            f'<details class="numbers"><summary>The numbers</summary><div class="scroll" role="region" tabindex="0" '
            f'aria-label="{label}"><table><thead><tr><th scope="col">{escape(self.x.label)}</th>{heads}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div></details>"
        )


def _line(kind: int, points: Sequence[CurvePoint], across: Scale, up: Scale) -> str:
    path = "L".join(f"{across(point.x):.1f} {up(point.mean):.1f}" for point in points)
    return path and f'<path class="line {colour(kind)}" d="M{path}"{dashes(kind)}/>'


def _band(kind: int, points: Sequence[CurvePoint], across: Scale, up: Scale) -> str:
    """The area between the ends of the intervals, over the points that have one."""
    ends = [(across(p.x), up(p.low), up(p.high)) for p in points if p.low is not None and p.high is not None]
    forth = [f"{x:.1f} {high:.1f}" for x, _, high in ends]
    back = [f"{x:.1f} {low:.1f}" for x, low, _ in reversed(ends)]
    return f'<path class="band {colour(kind)}" d="M{"L".join(forth + back)}Z"/>' if ends else ""
