"""The control that every run has: the nearest real image that the classifier accepts, and how engines compare with it.

A real image that the explained classifier gives the target is a counterfactual without any search or model. An engine
whose answers are farther than this one's is worth its cost only if they are better in something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..counterfactuals.curve import Curve
from ..counterfactuals.engine import Engine
from ..counterfactuals.fidelity import Fidelity
from ..counterfactuals.problem import Candidates, Problem
from ..intervals import Estimate, paired_difference
from .pool import RealPool, as_bytes
from .settings import NEAREST_ACCEPTED
from .summary import Columns

OF_A_CONTROL = Fidelity("ours", "a control: no search, and an answer whose quality is known")
TRIED = 8  # images of the pool for each question, where the nearest is accepted and yet not typical (--style human)
FEWEST = 500  # images of a pool in which the nearest one is near enough to compare engines with


@dataclass(frozen=True, kw_only=True)
class NearestAccepted(Engine):
    """Answers with the nearest real image (L1) to which the classifier gives the target with the confidence asked for.

    Where there is none, the answer is the image to which it gives the target with the highest probability. Further
    answers are the next ones. The classifier sees the pool once, which is no cost of an answer.
    """

    name: ClassVar[str] = NEAREST_ACCEPTED
    summary: ClassVar[str] = "the nearest real image (L1) that the classifier accepts as the target"
    paper: ClassVar[str] = "control"
    fidelity: ClassVar[Fidelity] = OF_A_CONTROL
    gradients: ClassVar[bool] = False

    pool: Callable[[], RealPool]  # the pool, which is read when it is first needed
    size: int  # number of images in the pool

    def find(self, problem: Problem) -> Curve:
        pool, rows = self.pool(), problem.every_row()
        order = self._order(problem, pool)
        found = self._tried(problem, pool, rows, order[:, 0])
        for place in range(1, TRIED):
            more = rows[~found.valid & (order[:, place] != order[:, place - 1])]
            if not len(more):
                break
            others = self._tried(problem, pool, more, order[more, place])
            found.replace(more[others.valid], others, others.valid)
        return Curve(lambda t, rows: found.images[rows], bisections=0, end=found)

    def _tried(self, problem: Problem, pool: RealPool, rows: Tensor, chosen: Tensor) -> Candidates:
        """Images of the pool as candidates for the questions `rows` (M,)."""
        return problem.candidates(pool.floats(chosen), rows)

    def _order(self, problem: Problem, pool: RealPool) -> Tensor:
        """Which images to try for each question, (N, TRIED) indices into the pool; the last one repeats."""
        order = problem.every_row().new_zeros(len(problem), TRIED)
        for target in problem.targets.unique().tolist():
            rows = (problem.targets == target).nonzero().squeeze(1)
            accepted = pool.seen_as(target, self.confidence)
            distances = pool.distances(problem.images[rows], accepted)
            distances[distances == 0] = torch.inf  # the factual itself
            for row, far in zip(rows.tolist(), distances, strict=True):
                nearest = far.argsort(stable=True)[: int(far.isfinite().sum())]
                best = accepted[nearest] if len(nearest) else self._most_probable(pool, problem.images[row], target)
                first = min(problem.attempt, len(best) - 1)  # further answers are the next ones
                some = best[first : first + TRIED]
                order[row] = torch.cat([some, some[-1:].expand(TRIED - len(some))])
        return order

    def _most_probable(self, pool: RealPool, image: Tensor, target: int) -> Tensor:
        """Index (1,) of the image with the highest probability of the target, without those equal to `image`."""
        others = (pool.images != as_bytes(image)).flatten(1).any(dim=1)
        return torch.where(others, pool.probabilities[:, target], -1.0).argmax(keepdim=True)

    def settings(self) -> dict[str, object]:
        """The settings that an answer depends on, as JSON values."""
        return {"confidence": self.confidence, "pool": self.size}


def against_nearest(columns: Mapping[str, Columns]) -> list[str]:
    """Sentences that compare the L1 distance of each engine with that of the control, over the pairs that both solved.

    Nothing is compared with a control that chooses from fewer than `FEWEST` images.
    """
    control = columns.get(NEAREST_ACCEPTED)
    if control is None or control.pool is None:
        return []
    if control.pool < FEWEST:
        return [
            f"{NEAREST_ACCEPTED} chooses from {control.pool} images, fewer than {FEWEST}, so no engine is compared "
            "with it"
        ]
    found: dict[str, list[str]] = {"nearer": [], "farther": [], "no difference shown": []}
    for name, each in columns.items():
        both = each.valid & control.valid
        difference = paired_difference(each.values["l1"][both], control.values["l1"][both])
        if not each.control and difference is not None:
            found[_verdict(difference)].append(f"{name} {_shown(difference)}")
    said = "; ".join(f"{verdict}: {', '.join(engines)}" for verdict, engines in found.items() if engines)
    if not said:
        return []
    return [
        f"L1 less that of {NEAREST_ACCEPTED}, the nearest of {control.pool:,} real images that the classifier accepts, "
        f"on the pairs that both solved (mean, 95 % interval, number of pairs): {said}"
    ]


def _verdict(difference: Estimate) -> str:
    """What a difference of distances shows, by its interval."""
    if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high:
        return "no difference shown"
    return "nearer" if difference.mean < 0 else "farther"


def _shown(difference: Estimate) -> str:
    ends = "" if difference.low is None else f"{difference.low:+.1f} to {difference.high:+.1f}, "
    return f"{difference.mean:+.1f} ({ends}{difference.count:,})"
