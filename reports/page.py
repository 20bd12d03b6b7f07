"""A page: one self-contained HTML file of sections, which loads nothing from the network.

`section.py` is the contract of a section, and `sections/` has the kinds that there are. `assets/` has the shell
(page.html), and the styles and scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

from ..files import write_text
from .section import BUDGET, Section, as_script, size
from .sections.facts import Facts

ID = re.compile(r"[a-z][a-z0-9-]*")
SHELL, STYLE, SCRIPT = "page.html", "page.css", "page.js"
STYLED = "<style>\n{}</style>\n"
SCRIPTED = '<script type="module">\n{}</script>\n'  # a module, so that the names of scripts do not clash


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page.

    Attributes:
        title: its title.
        facts: what its figures depend on, as text by name: command, bundle, versions, machine.
        sections: its sections, from top to bottom.
    """

    title: str
    facts: Mapping[str, str]
    sections: Sequence[Section]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for section in self.sections:
            if not ID.fullmatch(section.id) or section.id in seen:
                raise ValueError(
                    f"{section.id!r}: a section's id is lower case, and no other section of the page has it"
                )
            seen.add(section.id)

    def write(self, path: Path, budget: int = BUDGET) -> None:
        """Write the page to a file.

        Args:
            path: the file.
            budget: maximum size of the file, in bytes. Sections leave out what does not fit. Text and figures are never
                left out: if they alone are larger, so is the file.

        Raises:
            OutputError: the file could not be written.
            DataError: a picture could not be read.
        """
        frames = sum(size(_placed(section, "-")) + size(_data_of(section, "")) for section in self.sections)
        write_text(path, self._filled(fitted(self.sections, budget - size(self._filled([])) - frames)))

    def _filled(self, sections: Sequence[Section]) -> str:
        """The shell with these sections, and the styles and scripts of all sections."""
        assets = list(dict.fromkeys((STYLE, SCRIPT, *(name for each in self.sections for name in each.assets))))
        data = ((section, section.data()) for section in sections)
        fields = {
            "title": escape(self.title),
            "facts": Facts(id="facts", facts=self.facts).html(),
            "sections": "".join(_placed(section, section.html()) for section in sections),
            "styles": "".join(STYLED.format(asset(name)) for name in assets if name.endswith(".css")),
            "data": "".join(_data_of(section, as_script(found)) for section, found in data if found is not None),
            "scripts": "".join(SCRIPTED.format(asset(name)) for name in assets if name.endswith(".js")),
        }
        # In one pass, so that inserted text is never replaced again.
        page = re.sub(r"\{\{(\w+)\}\}", lambda found: fields[found[1]], asset(SHELL))
        # File names that are not valid Unicode contain surrogates, which UTF-8 cannot encode.
        return page.encode("utf-8", "replace").decode()


def fitted(sections: Iterable[Section], room: int) -> list[Section]:
    """The sections, made to fit into so many bytes together.

    Each gets the room of its smallest form. What is left is shared out: sections that want little get all of it, and
    those that want more than an equal share get equal shares.
    """
    wanted: list[tuple[int, Section]] = [(section.weight(), section) for section in sections]
    if sum(weight for weight, _ in wanted) <= room:
        return [section for _, section in wanted]
    least = [_least(section, weight) for weight, section in wanted]
    left = max(0, room - sum(least))
    result = [section for _, section in wanted]
    smallest_first = sorted(range(len(wanted)), key=lambda place: wanted[place][0] - least[place])
    for done, place in enumerate(smallest_first):
        weight, section = wanted[place]
        share = min(weight - least[place], left // (len(wanted) - done))
        if least[place] + share < weight:
            result[place] = section.fit(least[place] + share)
        left -= share
    return result


def _least(section: Section, weight: int) -> int:
    """The weight of a section's smallest form."""
    smallest = section.fit(0)
    return weight if smallest is section else smallest.weight()


def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return resources.files(__package__ or "").joinpath("assets", name).read_text(encoding="utf-8")


def _placed(section: Section, html: str) -> str:
    """A section's content below its heading; chapters are landmarks for screen readers."""
    if not html:
        return ""
    if not section.title:
        return f'<div id="{section.id}">{html}</div>\n'
    heading = f'<h{section.level} id="{section.id}">{escape(section.title)}</h{section.level}>'
    if section.level == 2:
        return f'<section aria-labelledby="{section.id}">{heading}{html}</section>\n'
    return f"<div>{heading}{html}</div>\n"


def _data_of(section: Section, text: str) -> str:
    return f'<script type="application/json" id="{section.id}-data">{text}</script>\n'
