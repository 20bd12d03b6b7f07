"""From the end of a curve back towards the factual: the nearest point that is still valid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    pass
from .problem import LARGEST_BATCH, Candidates, Problem, as_written

PATH_FRAMES = 9


@dataclass(frozen=True)
class Curve:
    """A way from each factual (share 0) to the best counterfactual known (share 1).

    Attributes:
        draw: draw(t (M,), rows (M,)) -> images (M, C, h, w), before rounding.
        grid: shares in (0, 1) to look at, in one batch, before bisecting; without it tightening bisects at once.
        bisections: halvings of the interval in which validity begins.
        end: what stands at share 1, where the engine has asked about it already.
        accept: accept(t (M,), rows (M,)) -> (M,) bool, which points the engine would stand by if they are valid;
            all, if None. Tightening stays on the far side of the others.
    """

    draw: Callable[[Tensor, Tensor], Tensor]
    grid: Sequence[float] = ()
    bisections: int = 8
    end: Candidates | None = None
    accept: Callable[[Tensor, Tensor], Tensor] | None = None


@torch.no_grad()
def tighten(problem: Problem, curve: Curve) -> tuple[Tensor, Candidates]:
    """The nearest still-valid point on each curve, from its valid end back towards the factual.

    The grid is looked at first, all points of an image in one batch, because confidence need not rise evenly; then
    the gap before the first valid point is halved `curve.bisections` times. Rows whose end is not valid are
    left at their end.

    Returns:
        Where on its curve each point is, t (N,), and the points.
    """
    rows = problem.every_row()
    t = torch.ones(len(rows), device=rows.device)
    found = curve.end or problem.candidates(curve.draw(t, rows), rows)
    searching = rows[found.valid]
    low = torch.zeros_like(t)

    def look(at: Tensor, rows: Tensor) -> tuple[Candidates, Tensor]:
        """The points of curves `rows` at t `at`, and whether each will do."""
        drawn = problem.candidates(curve.draw(at, rows), rows)
        return drawn, drawn.valid if curve.accept is None else drawn.valid & curve.accept(at, rows)

    if curve.grid:
        grid = torch.tensor(curve.grid, device=rows.device)
        edges = torch.cat([torch.zeros(1, device=rows.device), grid])
        for part in searching.split(max(1, LARGEST_BATCH // len(grid))):
            asked = part.repeat_interleave(len(grid))
            drawn, good = look(grid.repeat(len(part)), asked)
            good = good.view(-1, len(grid))
            some, first = good.any(dim=1), good.int().argmax(dim=1)
            low[part] = torch.where(some, edges[first], edges[-1])
            place = (torch.arange(len(part), device=rows.device) * len(grid) + first)[some]
            better = part[some]
            found.replace(better, drawn.images[place], drawn.valid[place], drawn.confidence[place])
            t[better] = grid[first[some]]

    for _ in range(curve.bisections):
        if not len(searching):
            break
        middle = (low[searching] + t[searching]) / 2
        drawn, good = look(middle, searching)
        better = searching[good]
        found.replace(better, drawn.images[good], drawn.valid[good], drawn.confidence[good])
        t[better] = middle[good]
        low[searching[~good]] = middle[~good]
    return t, found


def frames(problem: Problem, curve: Curve, t: Tensor, found: Tensor) -> Tensor:
    """The curve from the factual to the tightened point: (N, PATH_FRAMES, C, H, W)."""
    rows = problem.every_row()
    between = [
        as_written(problem.in_full(curve.draw(t * (place / (PATH_FRAMES - 1)), rows), rows))
        for place in range(1, PATH_FRAMES - 1)
    ]
    return torch.stack([problem.factuals, *between, found], dim=1)
