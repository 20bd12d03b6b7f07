"""Kinds of points and lines in a plot: their shapes, dashes and legend. assets/plots.css has their colours."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

COLOURS = 8  # in plots.css
SHAPES = (
    "M{r} 0A{r} {r} 0 1 1 -{r} 0A{r} {r} 0 1 1 {r} 0Z",  # a circle
    "M-{r} -{r}H{r}V{r}H-{r}Z",  # a square
    "M0 -{r}L{r} {r}H-{r}Z",  # a triangle
    "M0 -{r}L{r} 0L0 {r}L-{r} 0Z",  # a diamond
    "M-{r} -{r}H{r}L0 {r}Z",  # a triangle on its tip
)
"""Outlines around the origin, so that colours are not all that tells kinds apart; their number and that of the colours
have no common divisor, so that 40 kinds are different."""
DASHES = ("", "7 3", "2 3", "9 3 2 3")


def mark(kind: int, radius: float) -> str:
    """The outline of a point of a kind, as the path data of an SVG path around the origin."""
    return SHAPES[kind % len(SHAPES)].replace("{r}", f"{radius:g}")


def colour(kind: int) -> str:
    """The class of elements of a kind."""
    return f"kind-{kind % COLOURS}"


def dashes(kind: int) -> str:
    """The attribute of a line of a kind, which each has dashes of its own; "" for the first."""
    found = DASHES[kind % len(DASHES)]
    return found and f' stroke-dasharray="{found}"'


def legend_of_points(kinds: Mapping[str, int]) -> str:
    """A legend of the kinds by name, with the number of each kind's points."""
    swatch = '<path class="mark" transform="translate(8 4)" d="{}"/>'
    return _legend({f"{name} ({count:,})": swatch.format(mark(kind, 4)) for kind, (name, count) in _numbered(kinds)})


def legend_of_lines(names: Mapping[str, int]) -> str:
    """A legend of lines by name; the numbers are not shown."""
    swatch = '<path class="line" d="M0 4H16"{}/>'
    return _legend({name: swatch.format(dashes(kind)) for kind, (name, _) in _numbered(names)})


def _numbered(kinds: Mapping[str, int]) -> list[tuple[int, tuple[str, int]]]:
    return list(enumerate(kinds.items()))


def _legend(swatches: Mapping[str, str]) -> str:
    lines = "".join(
        f'<li><svg class="plot {colour(kind)}" viewBox="0 0 16 8" aria-hidden="true">{swatch}</svg>{escape(name)}</li>'
        for kind, (name, swatch) in enumerate(swatches.items())
    )
    return f'<ul class="kinds" role="list">{lines}</ul>'
