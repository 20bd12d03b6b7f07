"""The search of `swap`: which cells of which donors, and how few, make a composite valid.

The search of one question is a generator that asks for evaluations, so that those of many questions share batches.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...classifiers.introspection.features import SpatialFeatures
from ...images.composites import Grid, Swap
from ..problem import LARGEST_BATCH, Candidates, Problem

SAME_PLACE = 0.5  # of the gain of the best cell of a donor, from which on the cell at the same place is preferred
BEST_DONORS, BEST_SWAPS = 4, 8  # donors that are tried after ranking by features, and their swaps that count
LEAST_RISE = 1.001  # factor by which a round must raise the target's probability to be worth keeping
VALUES_PER_BATCH = 4_000_000  # of the images in one batch
MIN_PROBABILITY = 1e-30  # of a probability whose logarithm is taken


class SwapScore(NamedTuple):
    """What the classifier said to some composites: the target's probability (M,), and whether each is valid."""

    confidence: Tensor
    valid: Tensor


class Ranked(NamedTuple):
    """A swap and how much it is expected to raise the logarithm of the target's probability."""

    gain: float
    swap: Swap


class Try(NamedTuple):
    """A request to evaluate composites (M, C, H, W)."""

    images: Tensor


class Look(NamedTuple):
    """A request for the features of images (M, C, H, W) by cell, (M, F, cells).

    With `gradient`, also for the gradient of the target's log-probability, in the same shape; otherwise that is None.
    """

    images: Tensor
    gradient: bool


Search = Generator[Try | Look, Any, list[Swap]]
"""The search of one question: it asks for evaluations and returns swaps, which lead to the best composite found."""


@dataclass(frozen=True, kw_only=True)
class CellSearch:
    """The search of one question.

    Attributes:
        grid: the cells.
        factual: (C, H, W) in [0, 1].
        donors: (D, C, H, W) in [0, 1], the nearest first.
        measured: rank swaps by trying each, and not by the classifier's features.
        rounds: of ranking and trying.
        numbers: of swaps that are tried together.
    """

    grid: Grid
    factual: Tensor
    donors: Tensor
    measured: bool
    rounds: int
    numbers: Sequence[int]

    def go(self) -> Search:
        """Search, and return the swaps of the best composite found."""
        grid, factual, donors = self.grid, self.factual, self.donors
        (start,) = (yield Try(factual[None]))[0].tolist()
        theirs = None if self.measured else (yield Look(donors, gradient=False))[0]
        swaps: list[Swap] = []
        best, used, stuck = start, list(range(len(donors))), False
        for number in range(self.rounds):
            current = grid.composite(factual, donors, swaps)
            taken = {swap.cell for swap in swaps}
            if theirs is None:
                ranking = yield from self._by_trying(current, used, taken, best)
            else:  # what features expect is tried less often, because large images take long
                ranking = promising((yield from self._by_features(current, theirs, used, taken)))
            proposals = [
                [*swaps, *(each.swap for each in of_donor[:count])]
                for of_donor in ranking
                for count in (self.numbers if self.measured else self.numbers[::2])
                if count <= len(of_donor)
            ]
            if number == self.rounds - 1 or stuck or not proposals:  # at last, whole donors
                proposals += [[Swap(cell, cell, donor) for cell in range(len(grid))] for donor in range(len(donors))]
            confidence, valid = yield Try(self._composites(proposals))
            index = fewest(proposals, confidence, valid)
            if bool(valid[index]):
                swaps = yield from self._fewer(proposals[index], len(swaps))
                return (yield from self._without_needless(swaps))
            if float(confidence[index]) > best * LEAST_RISE:
                swaps, best = proposals[index], float(confidence[index])
            elif stuck:
                break
            else:
                stuck = len(used) == len(donors)
            # The donor that was best goes on alone once; then all join in.
            used = [swaps[-1].donor] if number == 0 and swaps else list(range(len(donors)))
        return swaps

    def _composites(self, proposals: Sequence[list[Swap]]) -> Tensor:
        """The composites of some proposals, (M, C, H, W)."""
        return torch.stack([self.grid.composite(self.factual, self.donors, each) for each in proposals])

    def _by_trying(
        self, current: Tensor, used: Sequence[int], taken: set[int], best: float
    ) -> Generator[Try, Any, list[list[Ranked]]]:
        """Rank swaps of cells at the same place by trying each of them alone."""
        grid, donors = self.grid, self.donors
        free = [cell for cell in range(len(grid)) if cell not in taken]
        singles = [[Swap(cell, cell, donor) for cell in free] for donor in used]
        every = [swap for of_donor in singles for swap in of_donor]
        if not every:
            return []
        tried = yield Try(torch.stack([grid.composite(current, donors, [swap]) for swap in every]))
        before = math.log(max(best, MIN_PROBABILITY))
        gains = (tried.confidence.clamp_min(MIN_PROBABILITY).log() - before).view(len(used), -1).tolist()
        return [
            in_order(map(Ranked, donor_gains, swaps)) for donor_gains, swaps in zip(gains, singles, strict=True)
        ]  # fmt: skip

    def _by_features(
        self, current: Tensor, theirs: Tensor, used: Sequence[int], taken: set[int]
    ) -> Generator[Look, Any, list[list[Ranked]]]:
        """Rank swaps of all cells of the donors by their features and the gradient at the composite's."""
        features, gradient = (each[0] for each in (yield Look(current[None], gradient=True)))
        at_current = (gradient * features).sum(dim=0)[:, None]
        ranking = []
        for donor in used:
            gains = gradient.T @ theirs[donor] - at_current  # (cells, cells of the donor)
            best, source = gains.max(dim=1)
            here = gains.diagonal()
            source = torch.where(here >= SAME_PLACE * best, torch.arange(len(self.grid)), source)
            gain = gains.gather(1, source[:, None]).squeeze(1)
            pairs = zip(gain.tolist(), source.tolist(), strict=True)
            ranking.append(
                in_order(
                    Ranked(value, Swap(cell, source_cell, donor))
                    for cell, (value, source_cell) in enumerate(pairs)
                    if cell not in taken
                )
            )
        return ranking

    def _fewer(self, swaps: list[Swap], least: int) -> Generator[Try, Any, list[Swap]]:
        """The shortest beginning of valid swaps that is valid, between this and the last number that was tried."""
        below = max((number for number in self.numbers if least + number < len(swaps)), default=0) + least
        shorter = [swaps[:count] for count in range(below + 1, len(swaps))]
        if not shorter:
            return swaps
        tried = yield Try(self._composites(shorter))
        return shorter[int(tried.valid.int().argmax())] if bool(tried.valid.any()) else swaps

    def _without_needless(self, swaps: list[Swap]) -> Generator[Try, Any, list[Swap]]:
        """Put back the cells without which the composite stays valid, as many at once as possible."""
        while len(swaps) > 1:
            without = [[*swaps[:index], *swaps[index + 1 :]] for index in range(len(swaps))]
            tried = yield Try(self._composites(without))
            needless = [index for index in tried.confidence.argsort(descending=True).tolist() if tried.valid[index]]
            if not needless:
                break
            fewer = [
                [swap for index, swap in enumerate(swaps) if index not in needless[:count]]
                for count in range(1, len(needless) + 1)
                if count < len(swaps)
            ]
            tried = yield Try(self._composites(fewer))
            if not bool(tried.valid.any()):  # a classifier that gives another answer at each evaluation
                break
            swaps = fewer[int(tried.valid.nonzero().max())]
        return swaps


def run(
    problem: Problem, grid: Grid, searches: Mapping[int, Search], features: SpatialFeatures | None
) -> dict[int, list[Swap]]:
    """Run the searches of several questions together, so that their evaluations share batches."""
    found: dict[int, list[Swap]] = {}
    waiting: dict[int, Try | Look] = {}

    def go_on(row: int, answer: Any) -> None:
        try:
            waiting[row] = searches[row].send(answer)
        except StopIteration as done:
            found[row] = done.value

    for row in searches:
        go_on(row, None)
    while waiting:
        asked, waiting = waiting, {}
        tries = {row: request.images for row, request in asked.items() if isinstance(request, Try)}
        looks = {row: request for row, request in asked.items() if isinstance(request, Look)}
        for row, answer in evaluated(problem, tries).items():
            problem.steps[row] += 1
            go_on(row, answer)
        for row, request in looks.items():
            assert features is not None
            go_on(row, looked_at(problem, grid, row, request, features))
    return found


def evaluated(problem: Problem, tries: Mapping[int, Tensor]) -> dict[int, SwapScore]:
    """What the classifier says to the composites of several questions."""
    if not tries:
        return {}
    images = torch.cat([*tries.values()])
    counts = [len(composites) for composites in tries.values()]
    rows = torch.tensor([row for row, count in zip(tries, counts, strict=True) for _ in range(count)])
    rows = rows.to(images.device)
    size = at_once(images)
    batches: list[Candidates] = [
        problem.candidates(part, owners) for part, owners in zip(images.split(size), rows.split(size), strict=True)
    ]
    confidence = torch.cat([batch.confidence for batch in batches]).cpu().split(counts)
    valid = torch.cat([batch.valid for batch in batches]).cpu().split(counts)
    return {row: SwapScore(*each) for row, each in zip(tries, zip(confidence, valid, strict=True), strict=True)}


def looked_at(
    problem: Problem, grid: Grid, row: int, request: Look, features: SpatialFeatures
) -> tuple[Tensor, Tensor | None]:
    """The features of images for the question `row`, and the gradients of the target's log-probability, by cell."""
    cells, climbs = [], []
    for images in request.images.split(at_once(request.images)):
        rows = torch.full((len(images),), row, device=images.device)
        problem.count(rows, backward=request.gradient)
        with torch.set_grad_enabled(request.gradient):
            found, logits = features(images)
            cost = problem.cost(logits.log_softmax(dim=1), rows).sum()
        cells.append(F.adaptive_avg_pool2d(found.detach(), (grid.rows, grid.columns)).flatten(2).cpu())
        if request.gradient:
            (gradient,) = torch.autograd.grad(cost, found)
            # Every position of a cell gets the same features, so the gradients of its positions are added up.
            share = found.shape[2] * found.shape[3] / len(grid)
            climbs.append(-F.adaptive_avg_pool2d(gradient, (grid.rows, grid.columns)).flatten(2).cpu() * share)
    return torch.cat(cells), torch.cat(climbs) if climbs else None


def fewest(proposals: Sequence[Sequence[Swap]], confidence: Tensor, valid: Tensor) -> int:
    """Index of the valid proposal with the fewest swaps and the highest confidence; if none is valid, the last only."""
    order = [
        (not good, len(swaps) if good else 0, -sure)
        for swaps, sure, good in zip(proposals, confidence.tolist(), valid.tolist(), strict=True)
    ]
    return min(range(len(order)), key=order.__getitem__)


def promising(ranking: Sequence[list[Ranked]]) -> list[list[Ranked]]:
    """The donors whose best swaps are expected to gain most."""
    return sorted(ranking, key=lambda of_donor: -sum(each.gain for each in of_donor[:BEST_SWAPS]))[:BEST_DONORS]


def in_order(ranked: Iterable[Ranked]) -> list[Ranked]:
    """The swaps with a positive gain, the highest first."""
    return sorted((each for each in ranked if each.gain > 0), key=lambda each: -each.gain)


def at_once(images: Tensor) -> int:
    """How many images of this size are evaluated in one batch."""
    return min(LARGEST_BATCH, max(8, VALUES_PER_BATCH // images[0].numel()))
