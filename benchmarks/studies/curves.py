"""Draws curves against a probability side by side as one PNG.

The probability is drawn by its log odds, so that .9, .98 and .99 are as far apart as they differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from PIL import Image, ImageDraw

from ...answers.pictures.sheet import FAINT, INK, LINE, WHITE, Colour, font
from ...metrics.measure import Measure
from ...reports.axes import Scale, Span, scale_for

WIDTH, HEIGHT = 640, 520  # pixels of a panel
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 52, 74
TEXT, SMALL = 20, 18  # font sizes
DOT = 5  # radius
TICKS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998)  # of the probability
COLOURS: tuple[Colour, ...] = (
    (29, 79, 140), (180, 84, 10), (22, 105, 63), (139, 42, 139), (168, 28, 38), (15, 114, 133), (122, 92, 0),
)  # fmt: skip
"""Of the pages' plots; controls are grey and dashed."""


class CurvePoint(NamedTuple):
    """A point of a curve: `y` at the probability `x`, in (0, 1)."""

    x: float
    y: float

    @property
    def odds(self) -> float:
        """The log odds of `x`."""
        return math.log(self.x / (1 - self.x))


@dataclass(frozen=True)
class Panel:
    """What one panel shows: `y` against `x`, a curve by name.

    Attributes:
        x, y: what is plotted; `x` is a probability.
        curves: the points of each curve, in order.
    """

    x: Measure
    y: Measure
    curves: Mapping[str, Sequence[CurvePoint]]


def draw_curves(panels: Sequence[Panel], controls: Sequence[str] = ()) -> Image.Image:
    """Draw panels side by side, with one legend below; the curves of `controls` are grey and dashed.

    Raises:
        ValueError: a panel has no points.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    engines = [name for name in names if name not in controls]
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(engines)}
    picture = Image.new("RGB", (WIDTH * len(panels), HEIGHT + 44), WHITE)
    draw = ImageDraw.Draw(picture)
    for place, panel in enumerate(panels):
        _draw_panel(draw, place * WIDTH, panel, colours)
    left = LEFT
    for name in names:
        _line(draw, [(left, HEIGHT + 14), (left + 36, HEIGHT + 14)], colours.get(name))
        draw.text((left + 44, HEIGHT + 2), name, fill=INK, font=font(TEXT))
        left += 44 + round(draw.textlength(name, font=font(TEXT))) + 36
    return picture


def _draw_panel(draw: ImageDraw.ImageDraw, left: int, panel: Panel, colours: Mapping[str, Colour]) -> None:
    """Draw a panel; curves without a colour are those of controls."""
    points = [point for curve in panel.curves.values() for point in curve]
    if not points:
        raise ValueError(f"{panel.y.label}: there is nothing to draw")
    odds = Measure("odds", "log odds", None, "number")
    across = scale_for([Span(point.odds) for point in points], odds, left + LEFT, left + WIDTH - RIGHT)
    up = scale_for([Span(point.y) for point in points], panel.y, HEIGHT - BOTTOM, TOP)
    _axes(draw, left, panel, across, up)
    for name, curve in panel.curves.items():
        places = [(across(point.odds), up(point.y)) for point in curve]
        _line(draw, places, colours.get(name))
        for x, y in places:
            draw.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), fill=colours.get(name, FAINT))


def _axes(draw: ImageDraw.ImageDraw, left: int, panel: Panel, across: Scale, up: Scale) -> None:
    """Grid, ticks and titles."""
    start, end, base = left + LEFT, left + WIDTH - RIGHT, HEIGHT - BOTTOM
    for value in up.ticks():
        draw.line((start, up(value), end, up(value)), fill=LINE)
        draw.text((start - 10, up(value)), _tick(value, panel.y), fill=FAINT, font=font(SMALL), anchor="rm")
    for value in TICKS:
        x = across(CurvePoint(value, 0.0).odds)
        if start <= x <= end:
            draw.line((x, TOP, x, base), fill=LINE)
            draw.text((x, base + 8), _tick(value, panel.x), fill=FAINT, font=font(SMALL), anchor="ma")
    draw.line((start, TOP, start, base, end, base), fill=FAINT, width=2)
    more = " (higher is better)" if panel.y.better == "higher" else " (lower is better)" if panel.y.better else ""
    draw.text((left + 8, 12), panel.y.label + more, fill=INK, font=font(TEXT))
    draw.text((end, base + 36), panel.x.label, fill=INK, font=font(TEXT), anchor="ra")


def _line(draw: ImageDraw.ImageDraw, places: Sequence[tuple[float, float]], colour: Colour | None) -> None:
    """A line through places, dashed if it has no colour of its own."""
    if colour is not None:
        draw.line([*places], fill=colour, width=3, joint="curve")
        return
    for (x, y), (right, bottom) in pairwise(places):
        length = max(abs(right - x), abs(bottom - y))
        dashes = max(1, round(length / 14))
        for dash in range(dashes):
            here, there = dash / dashes, (dash + 0.6) / dashes
            ends = (x + here * (right - x), y + here * (bottom - y), x + there * (right - x), y + there * (bottom - y))
            draw.line(ends, fill=FAINT, width=3)


def _tick(value: float, measure: Measure) -> str:
    return f"{round(100 * value, 9):g} %" if measure.kind == "share" else f"{value:g}"
