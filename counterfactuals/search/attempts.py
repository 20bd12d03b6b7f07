"""Searches of several engines for the same questions, and what their answers are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..curve import Curve
from ..problem import Candidates, Problem


@dataclass(frozen=True)
class Tried:
    """A search of one engine for some of the questions.

    Attributes:
        engine: its name.
        rows: (M,) the questions.
        sub: they as a problem of their own.
        curve: to what was found.
        shares: (M,) of the curves.
        found: what was found.
        features: (M, F) of what was found, in front of the classifier's last layer; None if they are not known.
    """

    engine: str
    rows: Tensor
    sub: Problem
    curve: Curve
    shares: Tensor
    found: Candidates
    features: Tensor | None

    def images_of(self, rows: Tensor) -> Tensor:
        """What was found for the questions `rows` (M,), which this search was about, (M, C, H, W)."""
        return self.found.images[torch.searchsorted(self.rows, rows)]


@dataclass(frozen=True)
class Worth:
    """What the answers of a search are worth.

    Attributes:
        robust, typical: (M,) bool.
        distance: (M,) mean absolute change of a value, in [0, 1].
    """

    robust: Tensor
    typical: Tensor
    distance: Tensor

    def as_number(self, found: Candidates) -> Tensor:
        """A number for each answer, (M,): the better the higher."""
        good = 4 * self.robust.float() + 2 * self.typical.float() - self.distance
        return torch.where(found.valid, 10 + good, found.confidence - 2)

    def lack(self, found: Candidates, place: int) -> str:
        """Why the answer at a place was not chosen."""
        if not bool(found.valid[place]):
            return "not valid"
        if not bool(self.robust[place]):
            return "not the same class under noise"
        return "farther" if bool(self.typical[place]) else "not typical"


def in_words(tried: Sequence[Tried], worths: Sequence[Worth], chosen: int, row: int) -> str:
    """Which answer to a question was chosen, and why others were not."""
    told: list[str] = []
    for number, (each, worth) in enumerate(zip(tried, worths, strict=True)):
        own = (each.rows == row).nonzero().flatten()
        if number != chosen and len(own):
            told.append(f"{each.engine} ({worth.lack(each.found, int(own[0]))})")
    rest = f"; other answers: {', '.join(told)}" if told else ""
    return f"auto: the answer of {tried[chosen].engine}{rest}"


def any_valid(tried: Sequence[Tried], rows: Tensor) -> Tensor:
    """Which questions (N,) have a valid answer already, (N,) bool."""
    found = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    for each in tried:
        found[each.rows] |= each.found.valid
    return found
