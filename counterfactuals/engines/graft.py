"""graft: cells of real photographs of the target are put in, and the composite is refined along a velocity field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from ...bundles.parts import Models
from ...images.resizing import resize_batch
from ..curve import About, Curve
from ..fidelity import Fidelity
from ..problem import Candidates, Problem
from ..search.landing import FieldEngine, Landing
from ..settings import setting
from .swap import CellSwap

FIRST_CELL = 0.5  # t on the curve from which on cells are put in


@dataclass(frozen=True, kw_only=True)
class Graft(CellSwap, FieldEngine):
    """Refines the composites of `swap` into images without seams: noised and denoised again, as in SDEdit.

    A composite is taken up to a level of noise, and lands under the target class along a velocity field. It is mixed
    with noise, which removes seams and loose bits; if what lands is not valid, it is lifted along the field instead,
    which keeps more of the composite. Levels are tried downwards, and the highest valid one wins: the more is redrawn,
    the more typical is the image. If none is valid, the composite itself is the answer. Cells are ordered by what they
    gain; the last ones are put back if the refined image does not need them.

    Sources: those of `swap`; Meng et al. 2022, SDEdit, arXiv 2108.01073 (noise); Cao et al. 2025, LeapFactual,
    arXiv 2510.14623 (lift). Their combination is ours.
    """

    name: ClassVar[str] = "graft"
    summary: ClassVar[str] = "cells of real images of the target class, melted into the image along a velocity field"
    paper: ClassVar[str] = "ours, after Meng et al. 2022, SDEdit, arXiv 2108.01073"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "ours",
        "the combination is ours: the composite of swap, noised as in SDEdit or lifted as in LeapFactual, and "
        "landed with guidance from the highest level that is valid",
    )
    caution: ClassVar[str | None] = None
    rank: ClassVar[int] = 6
    needs: ClassVar[tuple[str, ...]] = ("donors", "matching")

    levels: tuple[float, ...] = setting(
        (0.8, 0.6, 0.4), "levels of noise from which composites land, downwards", least=0.01, most=1
    )
    guidance: float = setting(4.0, "weight of the condition when landing", least=0)
    bisections: int = setting(3, "halvings of the number of cells; 0: all that the composite needs are used", least=0)

    @classmethod
    def from_models(cls, models: Models, **settings: object) -> Self:
        """As `Engine.from_models`; it works at the size of the velocity field."""
        return super().from_models(models, **{"working": models.working if models.is_lowres else None, **settings})

    def find(self, problem: Problem) -> Curve:
        composites = self.propose(problem.at_full_resolution())
        refiner = Refiner(self, problem)
        rows = problem.every_row()
        proposed = refiner.resized(composites.draw(torch.ones(len(rows), device=rows.device), rows))
        best, level, lifted = self._highest_valid(problem, refiner, proposed)

        # Up to t = FIRST_CELL the level rises, and from there the number of cells.
        def cells(t: Tensor) -> Tensor:
            return ((t - FIRST_CELL) / (1 - FIRST_CELL)).clamp(min=0)

        def draw(t: Tensor, rows: Tensor) -> Tensor:
            made = refiner.resized(composites.draw(cells(t), rows))
            return refiner.refined(made, level[rows] * (t / FIRST_CELL).clamp(max=1), rows, lifted[rows])

        def about(t: float, row: int) -> About:
            return composites.about(float(cells(torch.tensor(t))), row)

        low = torch.full_like(level, FIRST_CELL)
        return Curve(draw, bisections=self.bisections, low=low, end=best, about=about)

    def _highest_valid(self, problem: Problem, refiner: Refiner, proposed: Tensor) -> tuple[Candidates, Tensor, Tensor]:
        """Refine composites from the highest level at which they are valid; those that never are stay as they are.

        Returns:
            The candidates, and for each its level (N,) and whether it was lifted (N,).
        """
        todo = problem.every_row()
        best = problem.candidates(proposed, todo)
        chosen, was_lifted = torch.zeros(len(todo), device=todo.device), torch.zeros_like(best.valid)
        for each in self.levels:
            for lift in (False, True):
                if not len(todo):
                    break
                level = chosen.new_full((len(todo),), each)
                lifted = was_lifted.new_full((len(todo),), lift)
                found = problem.candidates(refiner.refined(proposed[todo], level, todo, lifted), todo)
                better = found.valid | (~best.valid[todo] & (found.confidence > best.confidence[todo]))
                best.replace(todo[better], found, better)
                chosen[todo[better]], was_lifted[todo[better]] = each, lift
                todo = todo[~found.valid]
        return best, chosen, was_lifted


class Refiner(Landing):
    """Refines composites: they are noised and denoised again, as in SDEdit."""

    engine: Graft

    def resized(self, composites: Tensor) -> Tensor:
        """Composites (M, C, H, W) at the size at which the field works, (M, C, h, w)."""
        size = (self.problem.images.shape[2], self.problem.images.shape[3])
        return resize_batch(composites, size)

    def refined(self, composites: Tensor, level: Tensor, rows: Tensor, lifted: Tensor) -> Tensor:
        """Composites (M, C, h, w) of the questions `rows`, landed under the target from levels (M,).

        Args:
            composites: in [0, 1].
            level: (M,).
            rows: (M,).
            lifted: (M,) bool, which are lifted along the field, instead of mixed with noise.
        """
        scaled = composites * 2 - 1
        states = self.restarted(self.noised(scaled, level, rows), level, rows)
        if bool(lifted.any()):
            log_probabilities = self.problem.log_probabilities(composites[lifted], rows[lifted])
            origin, zero = self.problem.condition(log_probabilities), torch.zeros_like(level[lifted])
            states[lifted] = self.field.integrate(
                scaled[lifted], zero, level[lifted], origin, steps=self.engine.lift_steps
            )
        guidance = torch.full_like(level, self.engine.guidance)
        return self.landed(states, level, rows, guidance)
