"""The page of a run: one self-contained HTML file with the table, the trade-off plots, and a gallery of the answers.

page.html is its template, with the style and the script. The page loads nothing from the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path

from ..files import write_text
from .figures import VIEWS, figures
from .gallery import Gallery, GalleryItem
from .summary import Summary

BUDGET = 24_000_000  # bytes; small enough for an e-mail attachment
SLACK = 2_000  # bytes reserved for text that depends on the chosen answers, such as how many were left out


def write_page(
    path: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    items: Sequence[GalleryItem],
    summary: Summary | None = None,
    budget: int = BUDGET,
) -> None:
    """Write the page.

    Args:
        path: file to write.
        title: title of the page.
        facts: what the figures depend on, as text by name: command, bundle, versions, machine.
        items: all answers. If they do not fit, the page shows the worst ones of each engine, and says how many are
            left out.
        summary: summary of the run; None for a page without table and plots.
        budget: maximum size of the file, in bytes.

    Raises:
        OutputError: the file could not be written.
    """
    fields = {
        "title": escape(title),
        "facts": "".join(_fact(name, text) for name, text in facts.items()),
        "figures": "" if summary is None else figures(summary),
        "basis": VIEWS[summary is not None and not summary.common_pairs],
        "left_out": "",
    }
    controls = [] if summary is None else summary.controls
    without = len(_filled(fields | {"data": ""}).encode())
    kept = Gallery(items, controls, budget - without - SLACK)
    if kept.left_out:
        fields["left_out"] = _left_out(kept, budget, figures=summary is not None)
    write_text(path, _filled(fields | {"data": kept.as_json()}))


def _fact(name: str, text: str) -> str:
    shown = f"<code>{escape(text)}</code>" if name == "command" else escape(text)
    return f"<div><dt>{escape(name)}</dt><dd>{shown}</dd></div>"


def _left_out(kept: Gallery, budget: int, *, figures: bool) -> str:
    there = len(kept.items)
    return (
        f'<p class="left-out"><strong>{kept.left_out:,} of {there + kept.left_out:,} answers are not on this page'
        f"</strong>, so that it stays below {budget / 1e6:g} MB. The {there:,} shown are the worst ones of each engine"
        f"{'; the figures are over all answers' if figures else ''}.</p>"
    )


def _filled(fields: Mapping[str, str]) -> str:
    """The template with its {{names}} replaced in one pass, so that inserted text is never replaced again."""
    template = resources.files(__package__ or "").joinpath("page.html").read_text(encoding="utf-8")
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: fields[found[1]], template)
    # File names that are not valid Unicode contain surrogates, which UTF-8 cannot encode.
    return page.encode("utf-8", "replace").decode()
