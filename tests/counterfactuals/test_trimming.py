"""Trimming: nearer, still accepted, in whole regions, and the same whoever is in the batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.goal import TargetClass
from cfx.counterfactuals.problem import Candidates, Problem
from cfx.counterfactuals.registry import load_engine
from cfx.counterfactuals.request import SearchRequest
from cfx.counterfactuals.search.trimming import regions_of, trim


@pytest.fixture(scope="module")
def asked(bundle: Bundle, digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Sixteen digits, targets, and valid counterfactuals."""
    images, targets = digits[0][::25], (digits[1][::25] + 4) % 10
    found = load_engine("leap").from_bundle(bundle).search(bundle.classifier, images, targets)
    assert bool(found.valid.all())
    return images, targets, found.images


def everything(tried: Candidates, features: Tensor, rows: Tensor) -> Tensor:
    return torch.ones_like(tried.valid)


def seen(bundle: Bundle, images: Tensor, targets: Tensor, found: Tensor) -> Candidates:
    """The counterfactuals as an engine gives them, evaluated."""
    problem = Problem(bundle.classifier, SearchRequest(images=images, targets=targets), TargetClass(targets, 0.9))
    return problem.candidates(found, problem.every_row())


def trimmed(bundle: Bundle, images: Tensor, targets: Tensor, found: Tensor) -> tuple[Candidates, Tensor, Problem]:
    problem = Problem(bundle.classifier, SearchRequest(images=images, targets=targets), TargetClass(targets, 0.9))
    best, kept = trim(problem, seen(bundle, images, targets, found), problem.every_row(), everything)
    return best, kept, problem


def test_what_is_not_needed_is_taken_back(bundle: Bundle, asked: tuple[Tensor, Tensor, Tensor]):
    images, _, found = asked
    best, kept, problem = trimmed(bundle, *asked)
    assert bool(best.valid.all()) and float(best.confidence.min()) >= 0.9
    assert torch.equal(best.images, torch.where(kept, found, images))
    before, after = ((each - images).abs().flatten(1).sum(dim=1) for each in (found, best.images))
    assert bool((after <= before).all()) and float(after.mean()) < 0.96 * float(before.mean())
    most = max(regions_of(found - images)[1].tolist())
    assert 1 <= int(problem.forward_calls.min()) <= int(problem.forward_calls.max()) <= 1 + most.bit_length()


def test_the_smallest_regions_are_the_first_to_go(bundle: Bundle, asked: tuple[Tensor, Tensor, Tensor]):
    images, _, found = asked
    _, kept, _ = trimmed(bundle, *asked)
    regions, counts = regions_of(found - images)
    for row, count in enumerate(counts.tolist()):
        stays = [bool(kept[row][regions[row] == number].all()) for number in range(count)]
        assert stays == [bool(kept[row][regions[row] == number].any()) for number in range(count)], "none is cut"
        assert stays == sorted(stays) and stays[-1]


def test_nothing_is_taken_back_that_is_not_accepted(bundle: Bundle, asked: tuple[Tensor, Tensor, Tensor]):
    images, targets, found = asked
    problem = Problem(bundle.classifier, SearchRequest(images=images, targets=targets), TargetClass(targets, 0.9))
    candidates = seen(bundle, *asked)
    best, kept = trim(problem, candidates, problem.every_row(), lambda tried, *_: torch.zeros_like(tried.valid))
    assert torch.equal(best.images, found) and bool(kept.all())
    some = torch.tensor([3, 8])
    asked_about: list[Tensor] = []

    def odd(tried: Candidates, features: Tensor, rows: Tensor) -> Tensor:
        asked_about.append(rows)
        return rows == 3

    best, kept = trim(problem, candidates.only(some), some, odd)
    assert torch.equal(best.images[1], found[8]) and not bool(kept[0].all())
    assert all(set(rows.tolist()) <= {3, 8} for rows in asked_about)


def test_alone_as_in_a_batch(bundle: Bundle, asked: tuple[Tensor, Tensor, Tensor]):
    together, _, _ = trimmed(bundle, *asked)
    for row in (0, 7):
        alone, _, _ = trimmed(bundle, *(each[row : row + 1] for each in asked))
        assert torch.equal(alone.images[0], together.images[row])


def test_regions_are_connected_and_ordered_by_their_size():
    change = torch.zeros(2, 3, 12, 16)
    change[0, :, 1:4, 1:4] = 0.3
    change[0, 1, 8, 2:9] = -0.5  # the largest
    change[0, 0, 9, 9] = 0.25  # touches it at a corner
    change[0, 0, 1:3, 12] = 0.4  # the smallest
    change[0, 2, 6, 14] = 0.09  # belongs to none
    regions, counts = regions_of(change)
    assert counts.tolist() == [4, 1] and int(regions[1].max()) == 0
    number = regions[0, 0]
    assert [int(number[at]) for at in ((2, 2), (8, 5), (9, 9), (1, 12), (6, 14), (11, 0))] == [2, 3, 3, 1, 0, 0]
