"""The contract of a section: a page is a title, facts, and sections, and each kind of section is one file.

`sections/` has the kinds that there are; `sections/notes.py` is the shortest. `Page` (`page.py`) puts them into a file.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

BUDGET = 24_000_000  # bytes of a page; small enough for an e-mail attachment


@dataclass(frozen=True, kw_only=True)
class Section(ABC):
    """A part of a page, as HTML and as data for its script.

    A subclass is a frozen, keyword-only dataclass that has `html`. All else has a default that suits a section of text.

    Attributes:
        id: its name in the page: lower case letters, digits and hyphens, different from those of other sections. The
            heading has it as its HTML id, so that `#ID` links to it. Ids of elements inside begin with it.
        title: text of its heading; "" for none.
        level: 2 for a chapter of the page, 3 for a part of the chapter before it.
        assets: names of the files in `assets/` that it needs, style sheets (.css) and scripts (.js). A page contains
            each file once, after page.css and page.js, however many sections ask for it. A script gets its section's
            data by `cfx.data(ID)`, and keeps what the reader chose in the URL by `cfx.remembers` (page.js).

    Examples:
        >>> from html import escape
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Remark(Section):
        ...     text: str
        ...
        ...     def html(self) -> str:
        ...         return f"<p>{escape(self.text)}</p>"
        >>> remark = Remark(id="remark", title="A remark", text="4 < 9")
        >>> remark.html()
        '<p>4 &lt; 9</p>'
        >>> remark.weight()
        15
        >>> remark.fit(3) is remark  # it has nothing to leave out
        True

        A page of it, in a new directory:

        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from cfx.reports.page import Page
        >>> path = Path(mkdtemp()) / "index.html"
        >>> Page(title="Digits", facts={"images": "2"}, sections=[remark]).write(path)
        >>> '<h2 id="remark">A remark</h2><p>4 &lt; 9</p>' in path.read_text()
        True
    """

    id: str
    title: str = ""
    level: Literal[2, 3] = 2
    assets: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def html(self) -> str:
        """What stands below the heading. "" leaves the section out, with its heading.

        All text from outside is escaped, and nothing refers to another file: pictures are data URIs. The reader may not
        run scripts, so what a script draws is said in words as well.

        Raises:
            DataError: a picture could not be read.
        """

    def data(self) -> object:
        """What its script reads, as something that `json.dumps` takes; None if it has no script.

        Raises:
            DataError: a picture could not be read.
        """
        return None

    def weight(self) -> int:
        """The bytes of `html` and `data` together. A section with pictures adds their sizes without reading them.

        Raises:
            DataError: a picture is missing.
        """
        data = self.data()
        return size(self.html()) + (0 if data is None else size(as_script(data)))

    def fit(self, room: int) -> Self:
        """The same section with a weight of at most `room` bytes.

        What is left out is said in `html`. Pictures and rows of long lists may be left out, figures never: a section
        that has nothing more to leave out returns its smallest form, though it is larger than `room`. `fit(0)` is
        therefore the smallest form. A section that has nothing to leave out returns itself.
        """
        return self


def as_script(data: object) -> str:
    """Compact ASCII JSON without "<", so that no text in it can end the surrounding script element.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def size(text: str) -> int:
    """The bytes of a text in the page. File names may contain surrogates, which are written as "?"."""
    return len(text.encode("utf-8", "replace"))
