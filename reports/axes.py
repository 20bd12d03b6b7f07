"""Axes of plots: what is plotted, its scale, and the frame with ticks and titles, as inline SVG.

The colours are CSS classes of assets/plots.css, so that one plot serves both the light and the dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from ..metrics.measure import Measure

WIDTH, HEIGHT = 380, 300  # user units; the page scales the plot
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 34, 50
INSET = 9  # distance between the frame and a point at the end of an axis


class Span(NamedTuple):
    """A mean and its interval; None if it has no interval."""

    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> list[float]:
        """The values that the plot must show."""
        return [value for value in self if value is not None]


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


def scale_for(spans: Sequence[Span], axis: Measure, start: float, end: float, *, log: bool = False) -> Scale:
    """A scale that shows all spans, between two edges of the frame."""
    ends = [value for span in spans for value in span.ends if not log or value > 0]
    if log:
        ends = [math.log10(value) for value in ends]
    low, high = min(ends), max(ends)
    # The axis covers at least this range, so that tiny differences do not look large.
    least = 0.8 if log else 0.05 if axis.kind == "share" else max(0.1 * max(abs(low), abs(high)), 1e-6)
    missing = max(0.0, least - (high - low)) / 2
    low, high = low - missing, high + missing
    if axis.kind == "share" and high > 1:
        low, high = low - (high - 1), 1.0
    if not log and low < 0 <= min(ends):
        low, high = 0.0, high - low
    inset = math.copysign(INSET, end - start)
    return Scale(low, high, start + inset, end - inset, log)


def svg(described: str, content: Sequence[str]) -> str:
    """A plot as an SVG element.

    Args:
        described: the text alternative.
        content: the elements inside.
    """
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(described)}">'
        f"{''.join(content)}</svg>"
    )


def draw_axes(across: Scale, up: Scale, x: Measure, y: Measure) -> list[str]:
    """Grid, ticks, axes and titles, as SVG elements."""
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


def axis_title(axis: Measure, more: str, less: str, extra: str = "") -> str:
    """The title of an axis: its label, which direction is better, and an arrow in that direction."""
    if axis.better is None:
        return ", ".join(filter(None, (axis.label, extra)))
    arrow = more if axis.better == "higher" else less
    return ", ".join(filter(None, (axis.label, extra, f"{axis.better} is better {arrow}")))


def _tick(value: float, axis: Measure) -> str:
    return f"{round(100 * value, 9):g} %" if axis.kind == "share" else f"{value:g}"


def printed(span: Span, axis: Measure) -> str:
    """A mean with its interval, as text."""
    text = axis.shown(span.mean)
    if span.low is not None and span.high is not None:
        text += f" ({axis.shown(span.low)} to {axis.shown(span.high)})"
    return text
