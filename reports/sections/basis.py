"""Basis: the heading of a run's figures, with the choice of the pairs that they are computed over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..section import Section
from ..summary import Basis

VIEWS: tuple[Basis, Basis] = ("common", "valid")
SHOWN = {"common": "pairs that all engines solved", "valid": "each engine's own valid pairs"}


@dataclass(frozen=True, kw_only=True)
class BasisChoice(Section):
    """The choice. Elements of the class `of-common` or `of-valid`, in any section, are shown on that basis alone.

    Attributes:
        start: what is chosen at first.
    """

    start: Basis
    assets: ClassVar[tuple[str, ...]] = ("basis.css", "basis.js")

    def html(self) -> str:
        choices = "".join(
            f'<label><input type="radio" name="basis" value="{view}"{" checked" if view == self.start else ""}> '
            f"{SHOWN[view]}</label>"
            for view in VIEWS
        )
        return f'<fieldset class="basis"><legend>Computed over</legend>{choices}</fieldset>'
