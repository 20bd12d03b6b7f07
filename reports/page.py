"""The page of a run: one self-contained HTML file with the figures, their trade-offs, and every answer to look at.

page.html is its template, with the style and the script; nothing in it is ever fetched from anywhere.
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

BUDGET = 24_000_000  # bytes; a file of that size can still be sent by mail
SLACK = 2_000  # bytes of a page beside its pictures that are known only with them, such as how many were left out


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
        path: the file.
        title: what stands above everything.
        facts: what the figures depend on: command, bundle, versions, machine; text by name.
        items: every answer. Those for whose pictures there is no room are left out, and the page says how many:
            of each engine the worst ones stay.
        summary: of the run; without one there is neither table nor plot.
        budget: most bytes of the file.

    Raises:
        OutputError: it could not be written.
    """
    parts = {
        "title": escape(title),
        "facts": "".join(_fact(name, text) for name, text in facts.items()),
        "figures": "" if summary is None else figures(summary),
        "basis": VIEWS[summary is not None and not summary.common_pairs],
        "left_out": "",
    }
    controls = [] if summary is None else summary.controls
    without = len(_filled(parts | {"data": ""}).encode())
    kept = Gallery(items, controls, budget - without - SLACK)
    if kept.left_out:
        parts["left_out"] = _left_out(kept, budget, figures=summary is not None)
    write_text(path, _filled(parts | {"data": kept.as_json()}))


def _fact(name: str, text: str) -> str:
    shown = f"<code>{escape(text)}</code>" if name == "command" else escape(text)
    return f"<div><dt>{escape(name)}</dt><dd>{shown}</dd></div>"


def _left_out(kept: Gallery, budget: int, *, figures: bool) -> str:
    there = len(kept.items)
    return (
        f'<p class="left-out"><strong>{kept.left_out:,} of {there + kept.left_out:,} answers are not on this page'
        f"</strong>, so that it stays below {budget / 1e6:g} MB. The {there:,} shown are the worst ones of each engine"
        f"{'; the figures count those left out, too' if figures else ''}.</p>"
    )


def _filled(parts: Mapping[str, str]) -> str:
    """The template with its {{names}} replaced, all at once, so that what is put in is never looked at again."""
    template = resources.files(__package__ or "").joinpath("page.html").read_text(encoding="utf-8")
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)
    # A file name that is no Unicode holds surrogates, which UTF-8 cannot.
    return page.encode("utf-8", "replace").decode()
