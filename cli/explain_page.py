"""The page of `cfx explain --html`, which is imported only where it is asked for."""

from __future__ import annotations

from pathlib import Path

from ..answers.answer import Answer
from ..answers.pictures.held import drawn
from ..bundles.bundle import Bundle
from ..images.writing import as_png
from ..reports.gallery import GalleryItem, WorstAnswers
from ..reports.page import Page
from ..reports.sections.engines import glossary_of
from ..reports.sections.gallery import Gallery
from ..runs.directory import PAGE
from ..runs.manifest import versions
from .explain_options import ExplainOptions


class ExplainPage:
    """Collects answers whose files are written, and writes a page of the worst of them."""

    def __init__(self) -> None:
        self._worst = WorstAnswers()
        self._engines: dict[str, None] = {}  # in their order

    def add(self, answer: Answer) -> None:
        """Add an answer. Its counterfactual is read from its file; the factual at the models' size has none."""
        self._engines[answer.engine] = None
        factual, _ = drawn(answer.pictures)
        self._worst.add(GalleryItem.of(answer, as_png(factual), Path(answer.files["counterfactual"])))

    def write(self, options: ExplainOptions, bundle: Bundle) -> Path | None:
        """Write the page, and return its path; None if there are no answers.

        Raises:
            OutputError: it could not be written.
            DataError: a picture could not be read.
        """
        if not self._worst.count:
            return None
        facts = {
            "images": " ".join(options.images),
            "asked for": options.asked,
            "confidence": f"{options.confidence:g}",
            "bundle": f"{bundle.name}, sha256 {bundle.digest[:12]}",
            "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        }
        facts |= {"note": "; ".join(bundle.notes)} if bundle.notes else {}
        path, sections = options.out / PAGE, [glossary_of(self._engines), Gallery(worst=self._worst)]
        Page(title=f"cfx explain: {self._worst.count} answers", facts=facts, sections=sections).write(path)
        return path
