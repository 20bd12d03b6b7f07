"""Facts: what the figures of a page depend on. Every page begins with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from ..section import Section


@dataclass(frozen=True, kw_only=True)
class Facts(Section):
    """Names with their texts; the text of `command` is set as code.

    Attributes:
        facts: text by name.
    """

    facts: Mapping[str, str]

    def html(self) -> str:
        return f'<dl class="facts">{"".join(_fact(name, text) for name, text in self.facts.items())}</dl>'


def _fact(name: str, text: str) -> str:
    shown = f"<code>{escape(text)}</code>" if name == "command" else escape(text)
    return f"<div><dt>{escape(name)}</dt><dd>{shown}</dd></div>"
