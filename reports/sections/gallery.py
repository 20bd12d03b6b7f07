"""Gallery: the answers with their pictures, the worst first, with filters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from ...metrics.catalogue import METRICS
from ...metrics.ranges import RANGES
from ..gallery import GalleryItem, WorstAnswers
from ..pictures import stored
from ..section import BUDGET, Section, as_script, size

NOTE = 400  # bytes of the note about answers that are left out

FORM = """<form class="filters" id="answers-filters" aria-label="Filters">
<label>Engine <select name="engine"></select></label>
<label>Seen as <select name="from"></select></label>
<label>Target <select name="to"></select></label>
<label>Verdict <select name="verdict">
<option value="">all</option>
<option value="valid">valid</option>
<option value="not-valid">not valid</option>
<option value="judges-disagree">judges disagree</option>
<option value="not-real">does not look real</option>
</select></label>
<label>Image <input type="search" name="input" placeholder="any text in its name" autocomplete="off"></label>
<label>Sort by <select name="sort"><option value="">verdict</option><option value="question">question</option></select></label>
<label>Order <select name="order"><option value="">worst first</option><option value="best">best first</option></select></label>
<label>Pictures <select name="size"><option value="">small</option><option value="medium">medium</option><option value="large">large</option></select></label>
<button type="reset">Reset</button>
</form>"""  # noqa: E501

FRAME = """
<p>The worst answers come first: not valid, then judges disagree, then does not look real; in each group, the least
realistic first. Click the name of an image to show all answers to its question.</p>
{left_out}
{form}
<div class="bar-line"><div id="answers-count" role="status" tabindex="-1"></div>
<div class="legend">Change:<i style="background:rgb(var(--added))"></i>brighter<i style="background:rgb(var(--removed))"></i>darker</div></div>
<noscript><p>A script in this file shows the answers, but your browser does not run scripts.</p></noscript>
<div class="cards" id="answers-cards"></div>
<button type="button" id="answers-more" hidden>Show more</button>
"""  # noqa: E501


@dataclass(frozen=True, kw_only=True)
class Gallery(Section):
    """The worst answers of each engine, as many as fit. A page has one gallery at most: its id is "answers".

    Attributes:
        worst: the answers.
        controls: names of engines whose answers are shown only if they are asked for.
        elsewhere: what is said of the answers that are left out, after their number; "" for nothing.
    """

    id: str = "answers"
    title: str = "Answers"
    worst: WorstAnswers
    controls: Sequence[str] = ()
    elsewhere: str = ""
    assets: ClassVar[tuple[str, ...]] = ("gallery.css", "gallery.js")

    @classmethod
    def of(
        cls, items: Iterable[GalleryItem], *, controls: Sequence[str] = (), elsewhere: str = "", most: int = BUDGET
    ) -> Gallery:
        """Make a gallery of answers, which are read once and one at a time, and not held if they do not fit.

        Args:
            items: all answers.
            controls, elsewhere: as the attributes.
            most: maximum of bytes for answers and pictures; at least the budget of the page.

        Raises:
            DataError: a picture is missing.
        """
        return cls(worst=WorstAnswers(items, room=most), controls=controls, elsewhere=elsewhere)

    def html(self) -> str:
        """The filters, and what the script fills."""
        return FRAME.format(form=FORM, left_out=self._left_out())

    def data(self) -> dict[str, object]:
        """The answers as objects, and each of their pictures once. Only now are files of pictures read."""
        pictures: dict[str, int] = {}

        def index(picture: str) -> int:
            return pictures.setdefault(picture, len(pictures))

        rows = []
        for kept in self.worst.ranked():
            before, after = (index(stored(png)) for png in kept.item.pictures)
            rows.append(kept.item.row(kept.position, before, after))
        return self._head() | {"entries": rows, "pictures": list(pictures)}

    def weight(self) -> int:
        """The bytes of all, from the sizes of the pictures' files."""
        return self._frame() + self.worst.size

    def fit(self, room: int) -> Self:
        """The same with the worst answers of each engine alone."""
        if self.weight() <= room:
            return self
        return replace(self, worst=self.worst.fitted(max(0, room - self._frame())))

    def _head(self) -> dict[str, object]:
        present = self.worst.metrics | {"confidence"}
        metrics = [metric for metric in METRICS if metric.name in present and metric.name != "validity"]
        return {
            "engines": list(self.worst.engines),
            "controls": [name for name in self.controls if name in self.worst.engines],
            "classes": sorted(self.worst.classes, key=natural_order),
            "metrics": [{"name": m.name, "label": m.label, "better": m.better, "kind": m.kind, "yesOrNo": m.yes_or_no}
                        for m in metrics],
            "ranges": [vars(each) for each in RANGES],
        }  # fmt: skip

    def _frame(self) -> int:
        """The bytes of all but rows and pictures, with room for the note about what is left out."""
        empty = size(FRAME) + size(FORM) + NOTE + size(self.elsewhere)
        return empty + len(as_script(self._head() | {"entries": [], "pictures": []}))

    def _left_out(self) -> str:
        kept, count = len(self.worst), self.worst.count
        if kept == count:
            return ""
        return (
            f'<p class="left-out"><strong>{count - kept:,} of {count:,} answers are not on this page</strong>, so that '
            f"the others take less than {self.worst.room / 1e6:.3g} MB. The {kept:,} shown are the worst ones of each "
            f"engine{self.elsewhere and f'; {self.elsewhere}'}.</p>"
        )


def natural_order(name: str) -> tuple[bool, int, str]:
    """Sort key for class names: numbers first, by value; then the others, by name."""
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name.casefold()
