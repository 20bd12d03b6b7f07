"""Trade-off plots as inline SVG: each engine is a point with its intervals and a label; labels avoid each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ..metrics.measure import Measure
from .axes import FRAME, Box, Scale, Span, draw_axes, printed, scale_for, svg

RADIUS = 4.5
LETTER, LINE = 6.4, 14  # width and height of a letter at 12 units; wide, because the reader's font is unknown
LONGEST = 24  # maximum number of letters in a label
DIRECTIONS = 16
DISTANCES = (0, 6, 14, 24, 36, 50, 66, 84, 104, 126, 150)  # distances to try between a label and its point


@dataclass(frozen=True)
class Point:
    """One engine in a trade-off."""

    name: str
    control: bool
    x: Span
    y: Span


def trade_off(points: Sequence[Point], x: Measure, y: Measure, *, log: bool = False) -> str:
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
    described = "; ".join(f"{p.name}: {printed(p.y, y)} at {printed(p.x, x)}" for p in points)
    lines = draw_axes(across, up, x, y)
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
        about = escape(f"{point.name}: {y.label} {printed(point.y, y)}, {x.label} {printed(point.x, x)}")
        lines.append(
            f'<circle class="{kind}" cx="{left:.1f}" cy="{top:.1f}" r="{RADIUS}"><title>{about}</title></circle>'
        )
    return svg(f"{y.label} against {x.label}. {described}", lines)


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


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
