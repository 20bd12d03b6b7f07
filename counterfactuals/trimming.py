"""Trimming: cells of an image whose change is not needed become the factual's again."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .problem import Candidates, Problem

CELLS = 4  # along a side of the image

Accept = Callable[[Candidates, Tensor, Tensor], Tensor]
"""candidates, their features (M, F), their questions (M,) -> which are good enough besides being valid, (M,) bool"""


@torch.no_grad()
def trim(problem: Problem, images: Tensor, rows: Tensor, accept: Accept) -> tuple[Candidates, Tensor]:
    """Give cells of counterfactuals the factuals' pixels back, those that have changed least first.

    How many is found by bisection, with calls of the classifier that are counted.

    Args:
        problem: with the questions.
        images: (M, C, H, W), valid and accepted counterfactuals of the size of the factuals.
        rows: (M,) their questions.
        accept: tells which valid candidates are good enough.

    Returns:
        The trimmed counterfactuals, and where each keeps its change, (M, 1, H, W) bool.
    """
    factuals, cells = problem.factuals[rows], cells_of(images)
    change = (images - factuals).abs().sum(dim=1).flatten(1)
    in_cells = change.new_zeros(len(rows), CELLS**2).index_add_(1, cells.flatten(), change)
    rank = in_cells.argsort(dim=1, stable=True).argsort(dim=1)
    kept = torch.ones_like(factuals[:, :1], dtype=torch.bool)
    best, _ = problem.candidates_with_features(images, rows)
    few, many = torch.zeros_like(rows), torch.full_like(rows, CELLS**2)  # cells given back: accepted, and too many
    for _ in range((CELLS**2).bit_length()):
        middle = (few + many) // 2
        mask = (rank >= middle[:, None])[:, cells][:, None]
        tried, features = problem.candidates_with_features(torch.where(mask, images, factuals), rows)
        good = tried.valid & accept(tried, features, rows)
        best.replace(good.nonzero().flatten(), tried, good)
        kept[good] = mask[good]
        few, many = torch.where(good, middle, few), torch.where(good, many, middle)
    return best, kept


def cells_of(images: Tensor) -> Tensor:
    """The number of the cell in which each pixel of images (N, C, H, W) is, (H, W) int64."""
    numbers = torch.arange(CELLS**2, device=images.device).view(1, 1, CELLS, CELLS)
    return F.interpolate(numbers.float(), images.shape[2:], mode="nearest-exact")[0, 0].long()
