"""Notes: sentences for the reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import ClassVar, Literal

from ..section import Section


@dataclass(frozen=True, kw_only=True)
class Notes(Section):
    """Sentences as a list; left out if there are none.

    Attributes:
        notes: the sentences.
    """

    notes: Sequence[str]
    title: str = "Notes"
    level: Literal[2, 3] = 3
    assets: ClassVar[tuple[str, ...]] = ("notes.css",)

    def html(self) -> str:
        lines = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return lines and f'<ul class="notes">{lines}</ul>'
