"""Gates: the outcomes of the last command's gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from ...runs.gates import Outcome
from ..section import Section


@dataclass(frozen=True, kw_only=True)
class Gates(Section):
    """The outcomes as a list, the failed ones marked; left out if there are none.

    Attributes:
        outcomes: the outcomes.
    """

    outcomes: Sequence[Outcome]
    title: str = "Gates"
    level: Literal[2, 3] = 3

    def html(self) -> str:
        lines = "".join(
            f'<li class="{"passed" if outcome.passed else "failed"}">{escape(outcome.says)}</li>'
            for outcome in self.outcomes
        )
        return lines and f'<ul class="gates">{lines}</ul>'
