"""Trimming: nearer, still accepted, changed only where the answer was, and the same whoever is in the batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.goal import TargetClass
from cfx.counterfactuals.problem import Candidates, Problem
from cfx.counterfactuals.registry import load_engine
from cfx.counterfactuals.trimming import CELLS, cells_of, trim


@pytest.fixture(scope="module")
def asked(bundle: Bundle, digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Sixteen digits, targets, and valid counterfactuals."""
    images, targets = digits[0][::25], (digits[1][::25] + 4) % 10
    found = load_engine("projection").from_bundle(bundle).search(bundle.classifier, images, targets)
    assert bool(found.valid.all())
    return images, targets, found.images


def everything(tried: Candidates, features: Tensor, rows: Tensor) -> Tensor:
    return torch.ones_like(tried.valid)


def trimmed(bundle: Bundle, images: Tensor, targets: Tensor, found: Tensor) -> tuple[Candidates, Tensor, Problem]:
    problem = Problem(bundle.classifier, images, TargetClass(targets, 0.9))
    best, kept = trim(problem, found, problem.every_row(), everything)
    return best, kept, problem


def test_what_is_not_needed_is_taken_back(bundle: Bundle, asked: tuple[Tensor, Tensor, Tensor]):
    images, _, found = asked
    best, kept, problem = trimmed(bundle, *asked)
    assert bool(best.valid.all()) and float(best.confidence.min()) >= 0.9
    assert torch.equal(best.images, torch.where(kept, found, images))
    before, after = ((each - images).abs().flatten(1).sum(dim=1) for each in (found, best.images))
    assert bool((after <= before).all()) and float(after.mean()) < 0.96 * float(before.mean())
    assert problem.forward_calls.tolist() == [6] * len(images), "every call is counted"


def test_the_least_changed_cells_are_the_first_to_go(bundle: Bundle, asked: tuple[Tensor, Tensor, Tensor]):
    images, _, found = asked
    _, kept, _ = trimmed(bundle, *asked)
    cells = cells_of(images)
    change = (found - images).abs().sum(dim=1)
    for row in range(len(images)):
        sums = [float(change[row][cells == cell].sum()) for cell in range(CELLS**2)]
        whole = [bool(kept[row, 0][cells == cell].all()) for cell in range(CELLS**2)]
        assert whole == [bool(kept[row, 0][cells == cell].any()) for cell in range(CELLS**2)]
        gone = [value for value, stays in zip(sums, whole, strict=True) if not stays]
        assert max(gone, default=0.0) <= min(value for value, stays in zip(sums, whole, strict=True) if stays)


def test_nothing_is_taken_back_that_is_not_accepted(bundle: Bundle, asked: tuple[Tensor, Tensor, Tensor]):
    images, targets, found = asked
    problem = Problem(bundle.classifier, images, TargetClass(targets, 0.9))
    best, kept = trim(problem, found, problem.every_row(), lambda tried, *_: torch.zeros_like(tried.valid))
    assert torch.equal(best.images, found) and bool(kept.all())
    some = torch.tensor([3, 8])
    asked_about: list[Tensor] = []

    def odd(tried: Candidates, features: Tensor, rows: Tensor) -> Tensor:
        asked_about.append(rows)
        return rows == 3

    best, kept = trim(problem, found[some], some, odd)
    assert torch.equal(best.images[1], found[8]) and not bool(kept[0].all())
    assert all(torch.equal(rows, some) for rows in asked_about)


def test_alone_as_in_a_batch(bundle: Bundle, asked: tuple[Tensor, Tensor, Tensor]):
    together, _, _ = trimmed(bundle, *asked)
    for row in (0, 7):
        alone, _, _ = trimmed(bundle, *(each[row : row + 1] for each in asked))
        assert torch.equal(alone.images[0], together.images[row])


@pytest.mark.parametrize("size", [(28, 28), (3, 5), (64, 50)])
def test_every_pixel_is_in_a_cell(size: tuple[int, int]):
    cells = cells_of(torch.zeros(1, 3, *size))
    assert cells.shape == size and int(cells[0, 0]) == 0 and int(cells[-1, -1]) == CELLS**2 - 1
    counts = cells.flatten().bincount(minlength=CELLS**2)
    assert int(counts.max()) <= (size[0] // CELLS + 1) * (size[1] // CELLS + 1)
