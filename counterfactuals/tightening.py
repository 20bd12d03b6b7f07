"""Tightening: moves from the end of a curve back towards the factual, to the nearest point that is still valid."""

from __future__ import annotations

import torch
from torch import Tensor

from .curve import Curve
from .problem import LARGEST_BATCH, Candidates, Problem, as_written

PATH_FRAMES = 9


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
        good = points.valid & (points.confidence >= curve.least)
        return points, good if curve.accept is None else good & curve.accept(at, rows)

    if curve.grid:
        grid = torch.tensor(curve.grid, device=rows.device)
        edges = torch.cat([torch.zeros(1, device=rows.device), grid])
        for batch in searching.split(max(1, LARGEST_BATCH // len(grid))):
            points, good = evaluate(grid.repeat(len(batch)), batch.repeat_interleave(len(grid)))
            good = good.view(-1, len(grid))
            valid, first = good.any(dim=1), good.int().argmax(dim=1)
            low[batch] = torch.where(valid, edges[first], edges[-1])
            index = (torch.arange(len(batch), device=rows.device) * len(grid) + first)[valid]
            better = batch[valid]
            found.replace(better, points, index)
            t[better] = grid[first[valid]]

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
        as_written(problem.to_full_resolution(curve.draw(t * (place / (PATH_FRAMES - 1)), rows), rows))
        for place in range(1, PATH_FRAMES - 1)
    ]
    return torch.stack([problem.factuals, *between, found], dim=1)
