"""Trade-off plots as inline SVG: each engine is a point with its intervals and a label; labels avoid each other.

The colours are CSS classes of page.html, so that one plot serves both the light and the dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from ..metrics.catalogue import Metric

WIDTH, HEIGHT = 380, 300  # user units; the page scales the plot
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 34, 50
INSET = 9  # distance between the frame and a point at the end of an axis
RADIUS = 4.5
LETTER, LINE = 6.4, 14  # width and height of a letter at 12 units; wide, because the reader's font is unknown
LONGEST = 24  # maximum number of letters in a label
DIRECTIONS = 16
DISTANCES = (0, 6, 14, 24, 36, 50, 66, 84, 104, 126, 150)  # distances to try between a label and its point


class Span(NamedTuple):
    """A mean and its interval; None if it has no interval."""

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> list[float]:
        """The values that the plot must show."""
        return [value for value in self if value is not None]


@dataclass(frozen=True)
class Point:
    """One engine in a trade-off."""

    name: str
    control: bool
    x: Span
    y: Span


class Box(NamedTuple):
    """A rectangle in user units, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area that both boxes cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    def nearest(self, place: tuple[float, float]) -> tuple[float, float]:
        """The point of the box that is nearest to a place."""
        x, y = place
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)

    def holds(self, other: Box) -> bool:
        """Whether the other box is inside this one."""
        horizontally = self.left <= other.left and other.right <= self.right
        return horizontally and self.top <= other.top and other.bottom <= self.bottom


FRAME = Box(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)


@dataclass(frozen=True)
class Scale:
    """Maps values to user units. If `log` is set, `low` and `high` are logarithms to base 10."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The position of a value."""
        share = ((math.log10(value) if self.log else value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values for the ticks of the axis."""
        if self.log:
            decades = range(math.floor(self.low), math.ceil(self.high) + 1)
            for mantissas in ((1, 2, 5), (1,)):
                found = [m * 10.0**d for d in decades for m in mantissas]
                found = [value for value in found if self.low <= math.log10(value) <= self.high]
                if len(found) <= 6:
                    break
            return found
        rough = (self.high - self.low) / 4
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= rough * 0.8)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(count * step, 12) for count in range(first, last + 1)]


def scale_for(spans: Sequence[Span], metric: Metric, start: float, end: float, *, log: bool = False) -> Scale:
    """A scale that shows all spans, between two edges of the frame."""
    ends = [value for span in spans for value in span.ends if not log or value > 0]
    if log:
        ends = [math.log10(value) for value in ends]
    low, high = min(ends), max(ends)
    # The axis covers at least this range, so that tiny differences do not look large.
    least = 0.8 if log else 0.05 if metric.kind == "share" else max(0.1 * max(abs(low), abs(high)), 1e-6)
    missing = max(0.0, least - (high - low)) / 2
    low, high = low - missing, high + missing
    if metric.kind == "share" and high > 1:
        low, high = low - (high - 1), 1.0
    if not log and low < 0 <= min(ends):
        low, high = 0.0, high - low
    inset = math.copysign(INSET, end - start)
    return Scale(low, high, start + inset, end - inset, log)


def trade_off(points: Sequence[Point], x: Metric, y: Metric, *, log: bool = False) -> str:
    """Draw an SVG element with `y` of each engine against its `x`; `log` makes the x axis logarithmic.

    Raises:
        ValueError: there are no points, or a value on a logarithmic axis is not positive.
    """
    across = scale_for([p.x for p in points], x, FRAME.left, FRAME.right, log=log)
    up = scale_for([p.y for p in points], y, FRAME.bottom, FRAME.top)
    places = [(across(p.x.mean), up(p.y.mean)) for p in points]
    names = [_short(p.name) for p in points]
    bars = [bar for p, place in zip(points, places, strict=True) for bar in _bars(p, place, across, up)]
    labels = place_labels(places, [LETTER * len(name) for name in names], bars)
    described = "; ".join(f"{p.name}: {_printed(p.y, y)} at {_printed(p.x, x)}" for p in points)
    lines = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(f"{y.label} against {x.label}. {described}")}">',
        *_axes(across, up, x, y),
    ]
    for place, label in zip(places, labels, strict=True):
        lines.append(_leader(place, label))
    for point, name, label in zip(points, names, labels, strict=True):
        kind = "label control" if point.control else "label"
        middle, base = (label.left + label.right) / 2, label.bottom - 3.5
        lines.append(f'<text class="{kind}" x="{middle:.1f}" y="{base:.1f}">{escape(name)}</text>')
    for bar in bars:  # drawn above the labels, whose halo would hide the ends of intervals
        lines.append(f'<path class="bar" d="M{bar.left:.1f} {bar.top:.1f}L{bar.right:.1f} {bar.bottom:.1f}"/>')
    for point, (left, top) in zip(points, places, strict=True):
        kind = "point control" if point.control else "point"
        about = escape(f"{point.name}: {y.label} {_printed(point.y, y)}, {x.label} {_printed(point.x, x)}")
        lines.append(
            f'<circle class="{kind}" cx="{left:.1f}" cy="{top:.1f}" r="{RADIUS}"><title>{about}</title></circle>'
        )
    return "".join(line for line in lines if line) + "</svg>"


def place_labels(places: Sequence[tuple[float, float]], widths: Sequence[float], bars: Sequence[Box]) -> list[Box]:
    """Place labels near their points and inside the frame, so that they do not cover labels, points and bars.

    Args:
        places: (x, y) of each point.
        widths: width of each label.
        bars: the intervals, as boxes of no width or height. Labels on bars are readable, so covering them costs little.
    """
    points = [Box(x - RADIUS - 1, y - RADIUS - 1, x + RADIUS + 1, y + RADIUS + 1) for x, y in places]
    lines = [Box(b.left - 1, b.top - 1, b.right + 1, b.bottom + 1) for b in bars]
    labels: list[Box] = []
    for number, (place, width) in enumerate(zip(places, widths, strict=True)):
        others = [point for other, point in enumerate(points) if other != number]
        best, least = FRAME, math.inf
        for distance, box in _candidates(place, width):
            if distance >= least:  # the following candidates are not nearer
                break
            path = _along(place, box)
            crossed = sum(step.overlap(other) > 0 for step in path for other in (*labels, *others))
            cost = (
                distance
                + 1e3 * sum(box.overlap(label) for label in labels)
                + 30 * sum(box.overlap(point) for point in points)
                + 0.5 * sum(box.overlap(line) for line in lines)
                + 25 * crossed
                + (0 if FRAME.holds(box) else 1e5)
            )
            if cost < least:
                best, least = box, cost
        labels.append(best)
        lines += _along(place, best)
    return labels


def _along(place: tuple[float, float], label: Box) -> list[Box]:
    """Small squares along the line from a point to the nearest point of its label."""
    x, y = place
    near_x, near_y = label.nearest(place)
    steps = max(1, round(math.hypot(near_x - x, near_y - y) / 6))
    middles = [(x + (near_x - x) * n / steps, y + (near_y - y) * n / steps) for n in range(1, steps)]
    return [Box(a - 1, b - 1, a + 1, b + 1) for a, b in middles]


def _candidates(place: tuple[float, float], width: float) -> list[tuple[float, Box]]:
    """Candidate boxes for a label around a point, each with its distance, the nearest first."""
    result = []
    for distance in DISTANCES:
        for number in range(DIRECTIONS):
            angle = 2 * math.pi * number / DIRECTIONS
            reach = RADIUS + 3 + distance
            # The label's near side touches the circle, so its centre is half its size farther out.
            middle = place[0] + math.cos(angle) * (reach + width / 2)
            height = place[1] + math.sin(angle) * (reach + LINE / 2)
            box = Box(middle - width / 2, height - LINE / 2, middle + width / 2, height + LINE / 2)
            result.append((distance, box))
    return result


def _bars(point: Point, place: tuple[float, float], across: Scale, up: Scale) -> list[Box]:
    x, y = place
    result = []
    if point.x.low is not None and point.x.high is not None and not (across.log and point.x.low <= 0):
        result.append(Box(across(point.x.low), y, across(point.x.high), y))
    if point.y.low is not None and point.y.high is not None:
        result.append(Box(x, up(point.y.high), x, up(point.y.low)))
    return result


def _leader(place: tuple[float, float], label: Box) -> str:
    """A line from a point to its label; empty if they are close."""
    x, y = place
    near_x, near_y = label.nearest(place)
    if math.hypot(near_x - x, near_y - y) < RADIUS + 10:
        return ""
    return f'<path class="leader" d="M{x:.1f} {y:.1f}L{near_x:.1f} {near_y:.1f}"/>'


def _axes(across: Scale, up: Scale, x: Metric, y: Metric) -> list[str]:
    lines = []
    for value in up.ticks():
        place = up(value)
        lines.append(f'<path class="grid" d="M{FRAME.left} {place:.1f}H{FRAME.right}"/>')
        lines.append(f'<text class="tick y" x="{FRAME.left - 7}" y="{place + 4:.1f}">{_tick(value, y)}</text>')
    for value in across.ticks():
        place = across(value)
        lines.append(f'<path class="grid" d="M{place:.1f} {FRAME.top}V{FRAME.bottom}"/>')
        lines.append(f'<text class="tick x" x="{place:.1f}" y="{FRAME.bottom + 17}">{_tick(value, x)}</text>')
    lines.append(f'<path class="axis" d="M{FRAME.left} {FRAME.top}V{FRAME.bottom}H{FRAME.right}"/>')
    lines.append(f'<text class="title y" x="4" y="16">{escape(axis_title(y, "↑", "↓"))}</text>')
    name = axis_title(x, "→", "←", "log scale" if across.log else "")
    lines.append(f'<text class="title x" x="{FRAME.right}" y="{HEIGHT - 10}">{escape(name)}</text>')
    return lines


def axis_title(metric: Metric, more: str, less: str, extra: str = "") -> str:
    """The title of an axis: the metric, which direction is better, and an arrow in that direction."""
    if metric.better is None:
        return ", ".join(filter(None, (metric.label, extra)))
    arrow = more if metric.better == "higher" else less
    return ", ".join(filter(None, (metric.label, extra, f"{metric.better} is better {arrow}")))


def _tick(value: float, metric: Metric) -> str:
    return f"{round(100 * value, 9):g} %" if metric.kind == "share" else f"{value:g}"


def _printed(span: Span, metric: Metric) -> str:
    text = metric.shown(span.mean)
    if span.low is not None and span.high is not None:
        text += f" ({metric.shown(span.low)} to {metric.shown(span.high)})"
    return text


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
