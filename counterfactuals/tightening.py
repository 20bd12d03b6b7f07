"""Tightening: moves from the end of a curve back towards the factual, to the nearest point that is still valid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .problem import LARGEST_BATCH, Candidates, Problem, as_written

PATH_FRAMES = 9


@dataclass(frozen=True, kw_only=True)
class Region:
    """A region of a counterfactual that was taken from another image.

    Attributes:
        x, y, width, height: in pixels of the counterfactual.
        donor: name of the other image.
    """

    x: int
    y: int
    width: int
    height: int
    donor: str

    def of(self, pixels: Tensor) -> Tensor:
        """The region of a map of pixels (H, W)."""
        return pixels[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class About:
    """What an engine says about one counterfactual.

    Attributes:
        regions: what was taken from other images.
        notes: sentences for the user.
    """

    regions: tuple[Region, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Curve:
    """A path from each factual (t = 0) to the best counterfactual found (t = 1).

    Attributes:
        draw: draw(t (M,), rows (M,)) -> images (M, C, h, w), before rounding.
        grid: values of t in (0, 1) to evaluate, in one batch, before bisecting; if empty, tightening bisects directly.
        bisections: how often to halve the interval in which validity begins.
        low: (N,) values of t up to which nothing is tried, such as where each curve is known not to be valid; None: 0.
        end: the candidates at t = 1, if the engine has already evaluated them.
        accept: accept(t (M,), rows (M,)) -> (M,) bool, which points the engine accepts if they are valid; None: all
            of them. Tightening treats the others like invalid points.
        about: about(t, row) -> what the engine says about the point of a row at t; None: nothing.
    """

    draw: Callable[[Tensor, Tensor], Tensor]
    grid: Sequence[float] = ()
    bisections: int = 8
    low: Tensor | None = None
    end: Candidates | None = None
    accept: Callable[[Tensor, Tensor], Tensor] | None = None
    about: Callable[[float, int], About] | None = None


@torch.no_grad()
def tighten(problem: Problem, curve: Curve) -> tuple[Tensor, Candidates]:
    """Finds the valid point nearest to the factual on each curve.

    The grid is evaluated first, all points of an image in one batch, because confidence need not rise monotonically.
    Then the interval before the first valid point is halved `curve.bisections` times. Rows whose end is not valid
    stay at their end.

    Returns:
        The position of each point on its curve, t (N,), and the points.
    """
    rows = problem.every_row()
    t = torch.ones(len(rows), device=rows.device)
    found = curve.end or problem.candidates(curve.draw(t, rows), rows)
    searching = rows[found.valid]
    low = torch.zeros_like(t) if curve.low is None else curve.low.clone()

    def evaluate(at: Tensor, rows: Tensor) -> tuple[Candidates, Tensor]:
        """The points at t = `at` on the curves `rows`, and whether each is valid and accepted by the engine."""
        points = problem.candidates(curve.draw(at, rows), rows)
        return points, points.valid if curve.accept is None else points.valid & curve.accept(at, rows)

    if curve.grid:
        grid = torch.tensor(curve.grid, device=rows.device)
        edges = torch.cat([torch.zeros(1, device=rows.device), grid])
        for batch in searching.split(max(1, LARGEST_BATCH // len(grid))):
            points, good = evaluate(grid.repeat(len(batch)), batch.repeat_interleave(len(grid)))
            good = good.view(-1, len(grid))
            some, first = good.any(dim=1), good.int().argmax(dim=1)
            low[batch] = torch.where(some, edges[first], edges[-1])
            place = (torch.arange(len(batch), device=rows.device) * len(grid) + first)[some]
            better = batch[some]
            found.replace(better, points, place)
            t[better] = grid[first[some]]

    for _ in range(curve.bisections):
        if not len(searching):
            break
        middle = (low[searching] + t[searching]) / 2
        points, good = evaluate(middle, searching)
        better = searching[good]
        found.replace(better, points, good)
        t[better] = middle[good]
        low[searching[~good]] = middle[~good]
    return t, found


def frames(problem: Problem, curve: Curve, t: Tensor, found: Tensor) -> Tensor:
    """Frames along each curve from the factual to the tightened point, (N, PATH_FRAMES, C, H, W)."""
    rows = problem.every_row()
    between = [
        as_written(problem.in_full(curve.draw(t * (place / (PATH_FRAMES - 1)), rows), rows))
        for place in range(1, PATH_FRAMES - 1)
    ]
    return torch.stack([problem.factuals, *between, found], dim=1)
