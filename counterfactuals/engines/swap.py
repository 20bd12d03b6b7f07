"""swap: cells of the photograph replaced by cells of real photographs of the target class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from ...bundles.parts import Models
from ...classifiers.introspection.features import SpatialFeatures
from ...generative.donors import DonorSource, OfClass
from ...images.composites import Grid, Swap, aligned
from ..curve import About, Curve, Region
from ..engine import Engine
from ..fidelity import Fidelity
from ..problem import NothingToOffer, Problem
from ..search.cell_search import CellSearch, at_once, run
from ..settings import setting

SMALLEST_CELL = 12  # pixels, where the image is large enough for `FEWEST_CELLS` of them
FEWEST_CELLS, MOST_CELLS = 5, 7  # along a side; 7 is the grid of the last layer of most networks at 224 pixels
MEASURED_UP_TO = 64 * 64  # pixels; in smaller images every swap is tried, instead of ranked by features
MIN_DIFFERENCE_OF_DONOR = 1 / 255  # mean difference below which a donor is the photograph itself
COLLAGE = 1 / 3  # share of the cells from which on photographs have little in common


class Known(NamedTuple):
    """The donors of a class, their features (M, F) if there are any, and whether each is valid itself, (M,) bool."""

    donors: OfClass
    features: Tensor | None
    valid: Tensor


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
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "the papers exchange cells of feature maps; here cells of pixels are aligned, blended and put back where "
        "they are not needed, and the image itself must be valid",
    )
    caution: ClassVar[str | None] = (
        "swap puts real photographs together: it shows which parts decide, not what a new photograph would look like"
    )
    rank: ClassVar[int] = 50
    needs: ClassVar[tuple[str, ...]] = ("donors",)
    gradients: ClassVar[bool] = False

    donors: DonorSource
    cells: int | None = setting(None, "cells along a side; none: by the size of the image, from 5 to 7", least=1)
    nearest: int = setting(8, "donors that are tried for a question", least=1)
    rounds: int = setting(4, "rounds of ranking and trying", least=1)
    align: bool = setting(True, "whether donors are shifted and scaled a little to where the factual is")
    flip: bool = setting(False, "whether mirrored donors are donors, too; the bundle's choice unless set")
    numbers: tuple[int, ...] = setting(
        (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48), "numbers of swaps that are tried together", least=1
    )
    _seen: dict[int, Known] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def from_models(cls, models: Models, **settings: object) -> Self:
        """As `Engine.from_models`; it works at the images' own resolution."""
        if "flip" not in models.settings.get(cls.name, {}):
            settings.setdefault("flip", models.flip)
        return super().from_models(models, **{"working": None, **settings})

    def find(self, problem: Problem) -> Curve:
        composites = self.propose(problem)
        return Curve(composites.draw, bisections=6, about=composites.about)

    def propose(self, problem: Problem) -> Composites:
        """Search, and return for each question the swaps of the best composite found."""
        grid = Grid(self._size(problem), self._cells(problem), match_colour=problem.images.shape[1] == 3)
        features = problem.spatial_features()
        found = features if features.layer is not None else None
        chosen = {row: self._choose(problem, row, label, found) for row, label in enumerate(problem.targets.tolist())}
        self._check(chosen)
        measured = found is None or problem.images[0, 0].numel() <= MEASURED_UP_TO
        how = {"grid": grid, "measured": measured, "rounds": self.rounds, "numbers": self.numbers}
        searches = {
            row: CellSearch(factual=problem.images[row], donors=each.images, **how).go()
            for row, each in chosen.items()
            if len(each.images)
        }
        swaps: dict[int, list[Swap]] = {row: [] for row in chosen} | run(problem, grid, searches, found)
        return Composites(grid, problem.images, chosen, swaps)

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
            factual_features = features(factual[None])[0].mean(dim=(2, 3))
            problem.count(torch.tensor([row]))
            order = torch.cdist(factual_features, known)[0]
        order = order + torch.where(sure, 0.0, 1e6)
        others = (gaps >= MIN_DIFFERENCE_OF_DONOR).nonzero().flatten()
        near = others[order[others].argsort(stable=True)]
        near = near.roll(-problem.attempt * self.nearest)[: self.nearest]  # further attempts take the next ones
        images = donors.images[near]
        if len(images) and self.align:
            images = aligned(factual, images, flip=self.flip)
        only_itself = "the only image of the target class is the factual itself"
        names = [donors.names[int(index)] for index in near]
        return OfClass(images, names, only_itself if len(donors.images) else donors.missing)

    def _look(self, problem: Problem, found: OfClass, row: int, features: SpatialFeatures | None) -> Known:
        """The donors of the class of a question that the classifier takes for it."""
        images = found.images.to(problem.images.device)
        if not len(images):
            return Known(found, None, torch.zeros(0, dtype=torch.bool))
        pooled: list[Tensor] = []
        logits: list[Tensor] = []
        with torch.no_grad():
            for batch in images.split(at_once(images)):
                if features is None:
                    logits.append(problem.logits(batch))
                else:
                    spatial, of_batch = features(batch)
                    pooled.append(spatial.mean(dim=(2, 3)))
                    logits.append(of_batch)
            rows = torch.full((len(images),), row, device=images.device)
            output = torch.cat(logits).log_softmax(dim=1)
            valid, sure = problem.met(output, rows)
        taken = sure >= output.exp().amax(dim=1)
        missing = (
            f"the classifier takes none of {len(images)} images of the target class for it (the highest probability is "
            f"{float(sure.max()):.1%}); add images that it does, or choose another target"
        )
        names = [name for name, its in zip(found.names, taken.tolist(), strict=True) if its]
        donors = OfClass(images[taken], names, missing)
        return Known(donors, torch.cat(pooled)[taken] if pooled else None, valid[taken])

    def _check(self, chosen: Mapping[int, OfClass]) -> None:
        """Raises NothingToOffer if there are donors for none of the questions."""
        if not any(len(each.images) for each in chosen.values()):
            raise NothingToOffer(chosen[0].missing)


@dataclass(frozen=True)
class Composites:
    """The best composite found for each question, as its swaps.

    Attributes:
        grid: the cells.
        factuals: (N, C, H, W) in [0, 1].
        donors: of each question.
        swaps: of each question, none if there are no donors.
    """

    grid: Grid
    factuals: Tensor
    donors: Mapping[int, OfClass]
    swaps: Mapping[int, list[Swap]]

    def first(self, t: float, row: int) -> list[Swap]:
        """The share `t` of a question's swaps that is made first."""
        return self.swaps[row][: math.ceil(t * len(self.swaps[row]) - 1e-6)]

    def draw(self, t: Tensor, rows: Tensor) -> Tensor:
        """The composites (M, C, H, W) of the questions `rows` (M,) with shares `t` (M,) of their swaps."""
        pairs = zip(t.tolist(), rows.tolist(), strict=True)
        drawn = [
            self.grid.composite(self.factuals[row], self.donors[row].images, self.first(at, row)) for at, row in pairs
        ]
        return torch.stack(drawn) if drawn else self.factuals[:0]

    def about(self, t: float, row: int) -> About:
        """Where the cells of a composite come from, and a warning if they are many."""
        donors, swaps, notes = self.donors[row], self.first(t, row), []
        if not donors.names:
            notes.append(f"swap: {donors.missing}")
        elif len(swaps) > COLLAGE * len(self.grid):
            notes.append(
                f"collage: these photographs have little in common; {len(swaps)} of {len(self.grid)} cells were "
                f"replaced; the nearest donor is {donors.names[0]}"
            )
        regions = []
        for swap in swaps:
            box = self.grid.box(swap.cell)
            size = {"width": box.right - box.left, "height": box.bottom - box.top}
            regions.append(Region(x=box.left, y=box.top, **size, donor=donors.names[swap.donor]))
        return About(tuple(regions), tuple(notes))
