"""Scatter: points of several kinds in a plane, each with a label and perhaps a picture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import ClassVar, Self

from ...metrics.measure import Measure
from ..axes import FRAME, HEIGHT, WIDTH, Scale, Span, draw_axes, scale_for
from ..kinds import colour, legend_of_points, mark
from ..pictures import Png, left_out, stored, stored_size
from ..section import Section, as_script, size

RADIUS = 3.5
SEPARATORS = 3  # bytes around a picture in the data


@dataclass(frozen=True)
class ScatterPoint:
    """One point.

    Attributes:
        x, y: where it is.
        label: what it is, such as the name of an image.
        kind: its class, which has a colour and a shape.
        png: its picture, shown when the point is chosen; None if it has none.
    """

    x: float
    y: float
    label: str
    kind: str = ""
    png: Png | None = None


@dataclass(frozen=True, kw_only=True)
class Scatter(Section):
    """Points in a plane. A click, or the arrow keys, choose one: its label and picture are shown beside the plot.

    Attributes:
        points: the points. The section is left out if there are none. Where there is no room, pictures of the last
            ones are left out; no point is.
        x, y: what is plotted.
        text: a sentence above the plot; "" for none.
        without: how many pictures of the points did not fit.

    Raises:
        ValueError: a number is not finite.
    """

    points: Sequence[ScatterPoint]
    x: Measure
    y: Measure
    text: str = ""
    without: int = 0
    assets: ClassVar[tuple[str, ...]] = ("plots.css", "scatter.js")

    def __post_init__(self) -> None:
        for point in self.points:
            if not (math.isfinite(point.x) and math.isfinite(point.y)):
                raise ValueError(f"{point.label} cannot be drawn at {point.x}, {point.y}: both must be finite")

    def html(self) -> str:
        if not self.points:
            return ""
        text = f"<p>{escape(self.text)}</p>" if self.text else ""
        kinds = Counter(point.kind for point in self.points)
        legend = legend_of_points(kinds) if list(kinds) != [""] else ""
        note = left_out(self.without, self.without + sum(point.png is not None for point in self.points))
        return (
            f'{text}{note}{legend}<figure class="plotted" data-scatter="{self.id}">{self._plot(list(kinds))}'
            '<figcaption class="chosen-point picture" aria-live="polite">Click a point, or press an arrow key in the '
            "plot, to see what it is.</figcaption></figure>"
        )

    def data(self) -> list[str | None] | None:
        """The pictures as base64, by the number of the point; None for a point without one."""
        return [None if point.png is None else stored(point.png) for point in self.points] if self.points else None

    def weight(self) -> int:
        pictures = sum(stored_size(point.png) + SEPARATORS for point in self.points if point.png is not None)
        return size(self.html()) + len(as_script([None] * len(self.points))) + pictures

    def fit(self, room: int) -> Self:
        weight = self.weight()
        if weight <= room or all(point.png is None for point in self.points):
            return self
        # Pictures go from the last one on; the first note about them takes room itself.
        points, without = list(self.points), self.without
        weight += len(left_out(10**9, 10**9))
        for number in range(len(points) - 1, -1, -1):
            png = points[number].png
            if weight <= room:
                break
            if png is not None:
                weight -= stored_size(png) + SEPARATORS
                points[number] = replace(points[number], png=None)
                without += 1
        return replace(self, points=points, without=without)

    def _plot(self, kinds: Sequence[str]) -> str:
        across = scale_for([Span(point.x) for point in self.points], self.x, FRAME.left, FRAME.right)
        up = scale_for([Span(point.y) for point in self.points], self.y, FRAME.bottom, FRAME.top)
        numbers = {kind: number for number, kind in enumerate(kinds)}
        marks = (self._mark(point, numbers[point.kind], across, up) for point in self.points)
        about = f"{self.y.label} against {self.x.label}, {len(self.points):,} points"
        # A group and not an image: its points are elements that can be chosen.
        return (
            f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{escape(about)}">'
            f"{''.join(draw_axes(across, up, self.x, self.y))}{''.join(marks)}</svg>"
        )

    def _mark(self, point: ScatterPoint, kind: int, across: Scale, up: Scale) -> str:
        place = f"{self.x.label} {self.x.shown(point.x)}, {self.y.label} {self.y.shown(point.y)}"
        about = escape(f"{point.label}{point.kind and f' ({point.kind})'}: {place}")
        return (
            f'<path class="mark {colour(kind)}" role="img" aria-label="{about}" '
            f'transform="translate({across(point.x):.1f} {up(point.y):.1f})" d="{mark(kind, RADIUS)}">'
            f"<title>{about}</title></path>"
        )
