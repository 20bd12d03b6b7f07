"""Trimming: regions of a change that are not needed are taken back."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..problem import Candidates, Problem

CHANGED = 0.1  # change of a pixel, of 1, from which on it belongs to a region; with 0.2, seams are visible

Accept = Callable[[Candidates, Tensor, Tensor], Tensor]
"""candidates, their features (M, F), their questions (M,) -> which are good enough besides being valid, (M,) bool"""


@torch.no_grad()
def trim(problem: Problem, found: Candidates, rows: Tensor, accept: Accept) -> tuple[Candidates, Tensor]:
    """Give pixels of counterfactuals the factuals' values back: regions of the change, the smallest first.

    A region is connected and all of it has changed, so that no stroke is cut. How many regions go is found by
    bisection, with calls of the classifier that are counted.

    Args:
        problem: with the questions.
        found: (M,) valid counterfactuals of the size of the factuals; they stay as they are.
        rows: (M,) their questions.
        accept: tells which valid candidates are good enough.

    Returns:
        The counterfactuals, trimmed where that was accepted, and where each keeps its change, (M, 1, H, W) bool.
    """
    images, factuals = found.images, problem.factuals[rows]
    regions, counts = regions_of(images - factuals)
    best = found.only(torch.arange(len(rows), device=rows.device))
    kept = torch.ones_like(factuals[:, :1], dtype=torch.bool)
    few, many = torch.zeros_like(counts), counts.clone()  # regions that are taken back: accepted, and too many
    while bool((many - few > 1).any()):
        todo = (many - few > 1).nonzero().flatten()
        middle = (few[todo] + many[todo]) // 2
        mask = regions[todo] >= middle[:, None, None, None]
        tried, features = problem.candidates_with_features(torch.where(mask, images[todo], factuals[todo]), rows[todo])
        good = tried.valid & accept(tried, features, rows[todo])
        best.replace(todo[good], tried, good)
        kept[todo[good]] = mask[good]
        few[todo[good]], many[todo[~good]] = middle[good], middle[~good]
    return best, kept


def regions_of(change: Tensor) -> tuple[Tensor, Tensor]:
    """The regions of changes, numbered from the smallest to the largest sum of changes.

    The change of a pixel is that of the channel that changes most. Number 0 is all that belongs to no region.

    Args:
        change: (N, C, H, W).

    Returns:
        The number of each pixel's region, (N, 1, H, W) int64, and the count of numbers, (N,) int64.
    """
    with warnings.catch_warnings():  # SciPy changes the filters
        from scipy import ndimage  # takes a third of a second to import

    numbers, counts = [], []
    for size in change.abs().amax(dim=1).cpu().numpy():
        labels = np.zeros(size.shape, dtype=np.int32)
        count = ndimage.label(size >= CHANGED, np.ones((3, 3)), output=labels)
        assert isinstance(count, int)  # because `output` was given
        sums = ndimage.sum_labels(size, labels, range(count + 1))
        sums[0] = -1
        numbers.append(np.argsort(np.argsort(sums, kind="stable"))[labels])
        counts.append(count + 1)
    found = torch.from_numpy(np.stack(numbers))[:, None]
    return found.to(change.device), torch.tensor(counts, device=change.device)
