"""swap: cells of the photograph replaced by cells of real photographs of the target class."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from ..bundles.parts import Models
from ..errors import UsageError
from ..generative.donors import DonorSource, OfClass
from .cells import Grid, Swap, aligned
from .engine import Engine
from .features import SpatialFeatures
from .problem import Candidates, Problem
from .tightening import About, Curve, Region

SMALLEST_CELL = 8  # pixels, where the image is large enough for `FEWEST_CELLS` of them
FEWEST_CELLS, MOST_CELLS = 5, 7  # along a side; 7 is the grid of the last layer of most networks at 224 pixels
MEASURED_UP_TO = 64 * 64  # pixels; in smaller images every swap is tried, instead of ranked by features
SAME = 1 / 255  # mean difference below which a donor is the photograph itself
COLLAGE = 1 / 3  # share of the cells from which on photographs have little in common
SAME_PLACE = 0.5  # of the gain of the best cell of a donor, from which on the cell at the same place is preferred
PIXELS_AT_ONCE = 4_000_000  # values of the images in one batch
LEAST = 1e-30  # of a probability whose logarithm is taken


class Tried(NamedTuple):
    """What the classifier said to some composites: the target's probability (M,), and whether each is valid."""

    confidence: Tensor
    valid: Tensor


class Ranked(NamedTuple):
    """A swap and how much it is expected to raise the logarithm of the target's probability."""

    gain: float
    swap: Swap


class Known(NamedTuple):
    """The donors of a class, their features (M, F) if there are any, and whether each is valid itself, (M,) bool."""

    donors: OfClass
    features: Tensor | None
    valid: Tensor


class Try(NamedTuple):
    """A request to evaluate composites (M, C, H, W)."""

    images: Tensor


class Look(NamedTuple):
    """A request for the features of a composite (C, H, W) and their gradient, both as cells (F, cells)."""

    image: Tensor


Search = Generator[Try | Look, Any, list[Swap]]
"""The search of one question: it asks for evaluations and returns swaps, which lead to the best composite found."""


@dataclass(frozen=True, kw_only=True)
class CellSwap(Engine):
    """Replaces cells of the factual by cells of real images that the classifier takes for the target (the donors).

    The donors nearest to the factual in the classifier's features are aligned with it. Swaps are ranked by how much
    they raise the target's log-probability: by the classifier's spatial features and their gradient, a first-order
    estimate of exchanging one cell's features for another's, where it has such features; or by trying each. Of the best
    swaps of each donor, growing numbers are tried together. Other donors are added only if one does not suffice. Cells
    without which the composite stays valid are put back. What must be valid is the image, not a feature map.

    Sources: Goyal et al. 2019, Counterfactual Visual Explanations, arXiv 1904.07451, section 3 (exchange of cells, and
    the permutation of the donor's cells); Vandenhende et al. 2022, Making Heads or Tails, arXiv 2203.12892 (several
    donors, preselected by features). The composite in pixels and its tightening are ours.
    """

    name: ClassVar[str] = "swap"
    summary: ClassVar[str] = "cells of the image replaced by cells of real images of the target class"
    paper: ClassVar[str] = "Goyal et al. 2019, Counterfactual Visual Explanations, arXiv 1904.07451"
    caution: ClassVar[str | None] = (
        "swap puts real photographs together: it shows which parts decide, not what a new photograph would look like"
    )
    rank: ClassVar[int] = 50
    needs: ClassVar[tuple[str, ...]] = ("donors",)
    gradients: ClassVar[bool] = False

    donors: DonorSource
    cells: int | None = None  # along a side; None: by the size of the image, from 5 to 7
    nearest: int = 8  # donors that are tried for a question
    rounds: int = 4  # of ranking and trying
    flip: bool = False  # whether mirrored donors are donors
    numbers: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)  # of swaps that are tried together
    _seen: dict[int, Known] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def from_models(cls, models: Models, **settings: object) -> Self:
        """As `Engine.from_models`; it works at the images' own resolution."""
        settings.setdefault("flip", models.flip)
        return super().from_models(models, **{"working": None, **settings})

    def find(self, problem: Problem) -> Curve:
        grid = Grid(self._size(problem), self._cells(problem), match_colour=problem.images.shape[1] == 3)
        features = problem.spatial_features()
        found = features if features.layer is not None else None
        chosen = {row: self._choose(problem, row, label, found) for row, label in enumerate(problem.targets.tolist())}
        self._check(chosen)
        searches = {
            row: self._search(grid, problem.images[row], each.images, found is not None)
            for row, each in chosen.items()
            if len(each.images)
        }
        swaps: dict[int, list[Swap]] = {row: [] for row in chosen} | run(problem, grid, searches, found)

        def first(t: float, row: int) -> list[Swap]:
            return swaps[row][: math.ceil(t * len(swaps[row]) - 1e-6)]

        def draw(t: Tensor, rows: Tensor) -> Tensor:
            pairs = zip(t.tolist(), rows.tolist(), strict=True)
            drawn = [grid.composite(problem.images[row], chosen[row].images, first(at, row)) for at, row in pairs]
            return torch.stack(drawn) if drawn else problem.images[:0]

        def about(t: float, row: int) -> About:
            return self._about(grid, chosen[row], first(t, row))

        return Curve(draw, bisections=6, about=about)

    def _size(self, problem: Problem) -> tuple[int, int]:
        return (problem.images.shape[2], problem.images.shape[3])

    def _cells(self, problem: Problem) -> int:
        shorter = min(self._size(problem))
        return self.cells or max(FEWEST_CELLS, min(MOST_CELLS, shorter // SMALLEST_CELL))

    def _choose(self, problem: Problem, row: int, label: int, features: SpatialFeatures | None) -> OfClass:
        """The donors nearest to a factual, those that are valid themselves first, aligned with it."""
        if label not in self._seen:
            self._seen[label] = self._look(problem, self.donors.of_label(label), row, features)
        donors, known, sure = self._seen[label]
        factual = problem.images[row]
        gaps = (donors.images - factual).abs().mean(dim=(1, 2, 3))
        order = gaps
        if known is not None and features is not None:
            own = features(factual[None])[0].mean(dim=(2, 3))
            problem.count(torch.tensor([row]))
            order = torch.cdist(own, known)[0]
        order = order + torch.where(sure, 0.0, 1e6)
        others = (gaps >= SAME).nonzero().flatten()
        near = others[order[others].argsort(stable=True)][: self.nearest]
        images = donors.images[near]
        if len(images):
            images = aligned(factual, images, flip=self.flip)
        only_itself = "the only image of the target class is the factual itself"
        names = [donors.names[int(index)] for index in near]
        return OfClass(images, names, only_itself if len(donors.images) else donors.missing)

    def _look(self, problem: Problem, found: OfClass, row: int, features: SpatialFeatures | None) -> Known:
        """What the classifier sees in the donors of a class."""
        images = found.images.to(problem.images.device)
        if not len(images):
            return Known(found, None, torch.zeros(0, dtype=torch.bool))
        pooled: list[Tensor] = []
        sure: list[Tensor] = []
        with torch.no_grad():
            for batch in images.split(at_once(images)):
                if features is None:
                    logits = problem.logits(batch)
                else:
                    spatial, logits = features(batch)
                    pooled.append(spatial.mean(dim=(2, 3)))
                rows = torch.full((len(batch),), row, device=images.device)
                sure.append(problem.met(logits.log_softmax(dim=1), rows)[0])
        return Known(found._replace(images=images), torch.cat(pooled) if pooled else None, torch.cat(sure))

    def _check(self, chosen: Mapping[int, OfClass]) -> None:
        """Raises UsageError if there are donors for none of the questions."""
        if not any(len(each.images) for each in chosen.values()):
            raise UsageError(f"swap: {chosen[0].missing}")

    def _search(self, grid: Grid, factual: Tensor, donors: Tensor, has_features: bool) -> Search:
        measured = not has_features or factual[0].numel() <= MEASURED_UP_TO
        (start,) = (yield Try(factual[None]))[0].tolist()
        swaps: list[Swap] = []
        best, used = start, list(range(len(donors)))
        for number in range(self.rounds):
            current = grid.composite(factual, donors, swaps)
            taken = {swap.cell for swap in swaps}
            if measured:
                ranking = yield from self._by_trying(grid, current, donors, used, taken, best)
            else:
                ranking = yield from self._by_features(grid, current, donors, used, taken)
            proposals = [
                [*swaps, *(each.swap for each in of_donor[:count])]
                for of_donor in ranking
                for count in self.numbers
                if count <= len(of_donor)
            ]
            if number == self.rounds - 1 or not proposals:  # at last, whole donors
                proposals += [[Swap(cell, cell, donor) for cell in range(len(grid))] for donor in range(len(donors))]
            tried = yield Try(torch.stack([grid.composite(factual, donors, each) for each in proposals]))
            confidence, valid = tried
            place = fewest(proposals, confidence, valid)
            if bool(valid[place]):
                swaps = yield from self._fewer(grid, factual, donors, proposals[place], len(swaps))
                return (yield from self._without_needless(grid, factual, donors, swaps))
            if float(confidence[place]) <= best * (1 + 1e-3):
                if len(used) == len(donors):
                    break
            else:
                swaps, best = proposals[place], float(confidence[place])
            # The donor that was best goes on alone once; then all join in.
            used = [swaps[-1].donor] if number == 0 and swaps else list(range(len(donors)))
        return swaps

    def _by_trying(
        self, grid: Grid, current: Tensor, donors: Tensor, used: Sequence[int], taken: set[int], best: float
    ) -> Generator[Try, Any, list[list[Ranked]]]:
        """Rank swaps of cells at the same place by trying each of them alone."""
        free = [cell for cell in range(len(grid)) if cell not in taken]
        singles = [[Swap(cell, cell, donor) for cell in free] for donor in used]
        every = [swap for of_donor in singles for swap in of_donor]
        if not every:
            return []
        tried = yield Try(torch.stack([grid.composite(current, donors, [swap]) for swap in every]))
        gains = (tried.confidence.clamp_min(LEAST).log() - math.log(max(best, LEAST))).view(len(used), -1).tolist()
        return [
            in_order(map(Ranked, of_donor, some)) for of_donor, some in zip(gains, singles, strict=True)
        ]  # fmt: skip

    def _by_features(
        self, grid: Grid, current: Tensor, donors: Tensor, used: Sequence[int], taken: set[int]
    ) -> Generator[Look, Any, list[list[Ranked]]]:
        """Rank swaps of all cells of the donors by their features and the gradient at the composite's."""
        own, gradient = yield Look(current)
        ranking = []
        for donor in used:
            theirs, _ = yield Look(donors[donor])
            gains = gradient.T @ theirs - (gradient * own).sum(dim=0)[:, None]  # (cells, cells of the donor)
            best, place = gains.max(dim=1)
            here = gains.diagonal()
            place = torch.where(here >= SAME_PLACE * best, torch.arange(len(grid)), place)
            gain = gains.gather(1, place[:, None]).squeeze(1)
            pairs = zip(gain.tolist(), place.tolist(), strict=True)
            ranking.append(
                in_order(
                    Ranked(value, Swap(cell, source, donor))
                    for cell, (value, source) in enumerate(pairs)
                    if cell not in taken
                )
            )
        return ranking

    def _fewer(
        self, grid: Grid, factual: Tensor, donors: Tensor, swaps: list[Swap], least: int
    ) -> Generator[Try, Any, list[Swap]]:
        """The shortest beginning of valid swaps that is valid, between this and the last number that was tried."""
        below = max((number for number in self.numbers if least + number < len(swaps)), default=0) + least
        shorter = [swaps[:count] for count in range(below + 1, len(swaps))]
        if not shorter:
            return swaps
        tried = yield Try(torch.stack([grid.composite(factual, donors, each) for each in shorter]))
        return shorter[int(tried.valid.int().argmax())] if bool(tried.valid.any()) else swaps

    def _without_needless(
        self, grid: Grid, factual: Tensor, donors: Tensor, swaps: list[Swap]
    ) -> Generator[Try, Any, list[Swap]]:
        """Put back the cells without which the composite stays valid, as many at once as possible."""
        while len(swaps) > 1:
            without = [[*swaps[:place], *swaps[place + 1 :]] for place in range(len(swaps))]
            tried = yield Try(torch.stack([grid.composite(factual, donors, each) for each in without]))
            needless = [place for place in tried.confidence.argsort(descending=True).tolist() if tried.valid[place]]
            if not needless:
                break
            fewer = [
                [swap for place, swap in enumerate(swaps) if place not in needless[:count]]
                for count in range(1, len(needless) + 1)
                if count < len(swaps)
            ]
            tried = yield Try(torch.stack([grid.composite(factual, donors, each) for each in fewer]))
            swaps = fewer[int(tried.valid.nonzero().max())]
        return swaps

    def _about(self, grid: Grid, donors: OfClass, swaps: Sequence[Swap]) -> About:
        notes: list[str] = []
        if not donors.names:
            notes.append(f"swap: {donors.missing}")
        elif len(swaps) > COLLAGE * len(grid):
            notes.append(
                f"collage: these photographs have little in common; {len(swaps)} of {len(grid)} cells were replaced; "
                f"the nearest donor is {donors.names[0]}"
            )
        regions = []
        for swap in swaps:
            box = grid.box(swap.cell)
            size = {"width": box.right - box.left, "height": box.bottom - box.top}
            regions.append(Region(x=box.left, y=box.top, **size, donor=donors.names[swap.donor]))
        return About(tuple(regions), tuple(notes))


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
        looks = {row: request.image for row, request in asked.items() if isinstance(request, Look)}
        for row, answer in evaluated(problem, tries).items():
            problem.steps[row] += 1
            go_on(row, answer)
        if looks:
            assert features is not None
            for row, answer in looked_at(problem, grid, looks, features).items():
                go_on(row, answer)
    return found


def evaluated(problem: Problem, tries: Mapping[int, Tensor]) -> dict[int, Tried]:
    """What the classifier says to the composites of several questions."""
    if not tries:
        return {}
    images = torch.cat([*tries.values()])
    counts = [len(some) for some in tries.values()]
    rows = torch.tensor([row for row, count in zip(tries, counts, strict=True) for _ in range(count)])
    rows = rows.to(images.device)
    size = at_once(images)
    batches: list[Candidates] = [
        problem.candidates(some, of) for some, of in zip(images.split(size), rows.split(size), strict=True)
    ]
    confidence = torch.cat([batch.confidence for batch in batches]).cpu().split(counts)
    valid = torch.cat([batch.valid for batch in batches]).cpu().split(counts)
    return {row: Tried(*each) for row, each in zip(tries, zip(confidence, valid, strict=True), strict=True)}


def looked_at(
    problem: Problem, grid: Grid, looks: Mapping[int, Tensor], features: SpatialFeatures
) -> dict[int, tuple[Tensor, Tensor]]:
    """The features of composites and the gradients of the targets' log-probabilities, by cell: (F, cells) each."""
    rows = torch.tensor([*looks], device=problem.images.device)
    images = torch.stack([*looks.values()])
    result: dict[int, tuple[Tensor, Tensor]] = {}
    for some, of in zip(images.split(at_once(images)), rows.split(at_once(images)), strict=True):
        with torch.enable_grad():
            found, logits = features(some)
            cost = problem.cost(logits.log_softmax(dim=1), of).sum()
        (gradient,) = torch.autograd.grad(cost, found)
        problem.count(of, backward=True)
        pooled = torch.nn.functional.adaptive_avg_pool2d(found.detach(), (grid.rows, grid.columns)).flatten(2).cpu()
        # Every place of a cell gets the same features, so the gradients of its places are added up.
        share = found.shape[2] * found.shape[3] / len(grid)
        climb = -torch.nn.functional.adaptive_avg_pool2d(gradient, (grid.rows, grid.columns)).flatten(2).cpu() * share
        result |= {row: (pooled[place], climb[place]) for place, row in enumerate(of.tolist())}
    return result


def fewest(proposals: Sequence[Sequence[Swap]], confidence: Tensor, valid: Tensor) -> int:
    """Index of the valid proposal with the fewest swaps and the highest confidence; if none is valid, the last only."""
    order = [
        (not good, len(swaps) if good else 0, -sure)
        for swaps, sure, good in zip(proposals, confidence.tolist(), valid.tolist(), strict=True)
    ]
    return min(range(len(order)), key=order.__getitem__)


def in_order(ranked: Iterable[Ranked]) -> list[Ranked]:
    """The swaps with a positive gain, the highest first."""
    return sorted((each for each in ranked if each.gain > 0), key=lambda each: -each.gain)


def at_once(images: Tensor) -> int:
    """How many images of this size are evaluated in one batch."""
    return max(8, PIXELS_AT_ONCE // images[0].numel())
