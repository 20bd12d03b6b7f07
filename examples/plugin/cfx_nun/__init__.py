"""nun: the nearest unlike neighbour, a real image of the target class, as an engine of its own package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cfx.counterfactuals.curve import Curve
from cfx.counterfactuals.engine import Engine
from cfx.counterfactuals.fidelity import Fidelity
from cfx.counterfactuals.problem import NothingToOffer, Problem
from cfx.counterfactuals.settings import setting
from cfx.generative.donors import DonorSource


@dataclass(frozen=True, kw_only=True)
class NearestUnlikeNeighbour(Engine):
    """The valid real image of the target class that is nearest to the factual, in pixels.

    Source: Dasarathy 1995; as an explanation, Nugent and Cunningham 2005, A Case-Based Explanation System.
    """

    name: ClassVar[str] = "nun"
    summary: ClassVar[str] = "the nearest real image of the target class"
    paper: ClassVar[str] = "Nugent and Cunningham 2005, A Case-Based Explanation System for Black-Box Systems"
    fidelity: ClassVar[Fidelity] = Fidelity("variant", "cases are compared pixel by pixel, among those that are valid")
    contract: ClassVar[int] = 1
    rank: ClassVar[int] = 60
    needs: ClassVar[tuple[str, ...]] = ("donors",)
    gradients: ClassVar[bool] = False

    donors: DonorSource
    neighbours: int = setting(20, "nearest real images that are tried", least=1)

    def find(self, problem: Problem) -> Curve:
        rows, found = problem.every_row(), torch.zeros_like(problem.images)
        for row in rows.tolist():
            donors = self.donors.of_label(int(problem.targets[row]))
            if not len(donors.images):
                raise NothingToOffer(donors.missing)
            distances = (donors.images - problem.images[row]).flatten(1).norm(dim=1)
            nearest = donors.images[distances.argsort()[: self.neighbours]]
            tried = problem.candidates(nearest, rows[row].expand(len(nearest)))
            # The nearest valid one, or else the one that convinces the classifier most; further answers take the next.
            order = torch.where(tried.valid, 2.0, tried.confidence).argsort(descending=True, stable=True)
            found[row] = nearest[order[problem.attempt % len(order)]]

        def draw(t: Tensor, rows: Tensor) -> Tensor:
            """The factual at t = 0, and the neighbour elsewhere: a blend of two images would be neither."""
            return torch.where((t > 0)[:, None, None, None], found[rows], problem.images[rows])

        return Curve(draw, bisections=0)
