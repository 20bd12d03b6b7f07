"""Searches of several engines for the same questions, and how good their answers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..curve import Curve
from ..problem import Candidates, Problem


@dataclass(frozen=True)
class Attempt:
    """A search of one engine for some of the questions.

    Attributes:
        engine: its name.
        rows: (M,) the questions.
        sub: these questions as a problem of their own.
        curve: to what was found.
        t: (M,) in [0, 1], the curve parameter of each answer.
        found: what was found.
        features: (M, F) of what was found, in front of the classifier's last layer; None if they are not known.
    """

    engine: str
    rows: Tensor
    sub: Problem
    curve: Curve
    t: Tensor
    found: Candidates
    features: Tensor | None

    def images_of(self, rows: Tensor) -> Tensor:
        """What was found for the questions `rows` (M,), which this search was about, (M, C, H, W)."""
        return self.found.images[torch.searchsorted(self.rows, rows)]


@dataclass(frozen=True)
class Quality:
    """How good the answers of a search are.

    Attributes:
        robust: (M,) bool, whether each keeps its class under noise.
        typical: (M,) bool, whether each is typical of its target.
        distance: (M,) mean absolute change of a value, in [0, 1].
    """

    robust: Tensor
    typical: Tensor
    distance: Tensor

    def score(self, found: Candidates) -> Tensor:
        """A score for each answer, (M,), without unit: higher is better.

        Any valid answer is above any invalid one; then robust ones, typical ones and the nearest come first.
        """
        good = 4 * self.robust.float() + 2 * self.typical.float() - self.distance
        return torch.where(found.valid, 10 + good, found.confidence - 2)

    def why_rejected(self, found: Candidates, index: int) -> str:
        """Why the answer at an index was not chosen."""
        if not bool(found.valid[index]):
            return "not valid"
        if not bool(self.robust[index]):
            return "not the same class under noise"
        return "farther" if bool(self.typical[index]) else "not typical"


def in_words(attempts: Sequence[Attempt], qualities: Sequence[Quality], chosen: int, row: int) -> str:
    """Which answer to a question was chosen, and why others were not."""
    others: list[str] = []
    for number, (attempt, quality) in enumerate(zip(attempts, qualities, strict=True)):
        index = (attempt.rows == row).nonzero().flatten()
        if number != chosen and len(index):
            others.append(f"{attempt.engine} ({quality.why_rejected(attempt.found, int(index[0]))})")
    rest = f"; other answers: {', '.join(others)}" if others else ""
    return f"auto: the answer of {attempts[chosen].engine}{rest}"


def any_valid(attempts: Sequence[Attempt], rows: Tensor) -> Tensor:
    """Which questions (N,) have a valid answer already, (N,) bool."""
    found = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    for attempt in attempts:
        found[attempt.rows] |= attempt.found.valid
    return found
