"""`cfx explain --html`: all answers on one page, the same as that of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..benchmarks.page import Entry, write_page
from ..benchmarks.run import PAGE, versions
from ..images.writing import as_png
from .record import Explanation

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..bundles.bundle import Bundle
    from .request import Request


def page_entry(explanation: Explanation, factual: Image) -> Entry:
    """One answer as the page shows it, once its files are written.

    Args:
        explanation: the answer.
        factual: the image asked about, at the model's size.
    """
    return Entry(
        input=str(explanation.input),
        engine=explanation.engine,
        factual=explanation.factual.name,
        factual_confidence=explanation.factual.confidence,
        target=explanation.target,
        found=explanation.counterfactual.name,
        confidence=explanation.confidence,
        valid=explanation.valid,
        metrics=explanation.scores,
        factual_png=as_png(factual),
        counterfactual_png=explanation.files["counterfactual"].read_bytes(),
    )


def write_answers(request: Request, bundle: Bundle, entries: Sequence[Entry]) -> Path:
    """Write the page; returns where it is."""
    facts = {
        "images": " ".join(request.images),
        "target": request.target,
        "confidence": f"{request.confidence:g}",
        "bundle": f"{bundle.name}, sha256 {bundle.digest[:12]}",
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }
    path = request.out / PAGE
    write_page(path, title=f"cfx explain: {len(entries)} answers", facts=facts, summary=None, entries=entries)
    return path
