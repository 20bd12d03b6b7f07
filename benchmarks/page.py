"""The page of a run: one self-contained HTML file with the figures, their trade-offs, and every answer to look at.

page.html is its template, with the style and the script; nothing in it is ever fetched from anywhere.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from ..files import write_text
from ..metrics.catalogue import METRICS
from .figures import VIEWS, figures

BUDGET = 24_000_000  # bytes; a file of that size can still be sent by mail
SLACK = 2_000  # bytes of a page beside its pictures that are known only with them, such as how many were left out


@dataclass(frozen=True)
class Entry:
    """One answer in the gallery.

    Attributes:
        input: the image as a user knows it.
        engine: by name.
        factual, factual_confidence: the class that the explained classifier sees in it, and its probability.
        target: the class asked for.
        found: the class that the classifier sees in the counterfactual.
        confidence: the target's probability there.
        valid: as in `Counterfactuals`.
        metrics: by name; None where one could not be had.
        factual_png, counterfactual_png: the pictures, as files hold them.
    """

    input: str
    engine: str
    factual: str
    factual_confidence: float
    target: str
    found: str
    confidence: float
    valid: bool
    metrics: Mapping[str, float | bool | None]
    factual_png: bytes
    counterfactual_png: bytes

    @property
    def severity(self) -> tuple[int, float]:
        """Smaller is worse: not valid, judges disagree, does not look real, the rest; in each the least real first."""
        failures = (not self.valid, self.metrics.get("judge_agrees") is False, self.metrics.get("looks_real") is False)
        tier = next((place for place, failed in enumerate(failures) if failed), len(failures))
        percentile = self.metrics.get("realism_percentile")
        return tier, math.inf if percentile is None else float(percentile)


def write_page(
    path: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    summary: Mapping[str, Any] | None,
    entries: Iterable[Entry],
    budget: int = BUDGET,
) -> None:
    """Write the page.

    Args:
        path: the file.
        title: what stands above everything.
        facts: what the figures depend on: command, bundle, versions, machine; text by name.
        summary: that of summary.json (docs/run.md); without one there is neither table nor plot.
        entries: every answer. Those for whose pictures there is no room are left out, and the page says how many:
            of each engine the worst ones stay.
        budget: most bytes of the file.

    Raises:
        OutputError: it could not be written.
    """
    everything = list(entries)
    parts = {
        "title": escape(title),
        "facts": "".join(_fact(name, text) for name, text in facts.items()),
        "figures": "" if summary is None else figures(summary),
        "basis": VIEWS[summary is not None and not summary["common_pairs"]],
        "left_out": "",
    }
    controls = [] if summary is None else [name for name, about in summary["engines"].items() if about["control"]]
    without = len(_filled(parts | {"data": ""}).encode())
    kept = Gallery(everything, controls, budget - without - SLACK)
    if kept.left_out:
        parts["left_out"] = _left_out(kept, budget, figures=summary is not None)
    write_text(path, _filled(parts | {"data": kept.as_json()}))


class Gallery:
    """The answers that there is room for, worst first, and their pictures, each of them once."""

    def __init__(self, entries: Sequence[Entry], controls: Sequence[str], room: int) -> None:
        self.engines = list(dict.fromkeys(entry.engine for entry in entries))
        self.controls = [name for name in controls if name in self.engines]
        self.classes = sorted({n for e in entries for n in (e.factual, e.target, e.found)}, key=_natural)
        present = {name for entry in entries for name, value in entry.metrics.items() if value is not None}
        self.metrics = [m for m in METRICS if m.name in present | {"confidence"} and m.name != "validity"]
        self.places = {id(entry): place for place, entry in enumerate(entries)}
        self.pictures: dict[bytes, int] = {}
        self.entries: list[Entry] = []
        ranked = sorted(entries, key=lambda entry: entry.severity)
        stays = self._fit(ranked, room - len(self.as_json()))
        self.entries = [entry for entry in ranked if id(entry) in stays]
        self.left_out = len(ranked) - len(self.entries)

    def as_json(self) -> str:
        """What the page's script reads, fit to stand inside a script element."""
        data = {
            "engines": self.engines,
            "controls": self.controls,
            "classes": self.classes,
            "metrics": [{"name": m.name, "label": m.label, "better": m.better, "kind": m.kind, "yesOrNo": m.yes_or_no}
                        for m in self.metrics],
            "entries": [self._row(entry) for entry in self.entries],
            "pictures": [b64encode(picture).decode() for picture in self.pictures],
        }  # fmt: skip
        return _json(data)

    def _fit(self, ranked: Sequence[Entry], room: int) -> set[int]:
        """Take the worst left of each engine in turn until there is no room for an engine's next."""
        queues = {name: deque(entry for entry in ranked if entry.engine == name) for name in self.engines}
        taken: set[int] = set()
        while queues:
            for name, queue in list(queues.items()):
                if not queue:
                    del queues[name]
                    continue
                entry = queue.popleft()
                pictures = {entry.factual_png, entry.counterfactual_png} - self.pictures.keys()
                # a picture in base64, its quotes and comma; a row with its comma and longer numbers of pictures
                needed = sum(4 * math.ceil(len(picture) / 3) + 3 for picture in pictures)
                needed += len(_json(self._row(entry))) + 20
                if needed > room:
                    del queues[name]
                    continue
                room -= needed
                taken.add(id(entry))
                for picture in (entry.factual_png, entry.counterfactual_png):
                    self.pictures.setdefault(picture, len(self.pictures))
        return taken

    def _row(self, entry: Entry) -> list[Any]:
        metrics = {"confidence": entry.confidence} | dict(entry.metrics)
        return [
            self.places[id(entry)],
            entry.input,
            self.engines.index(entry.engine),
            self.classes.index(entry.factual),
            _number(entry.factual_confidence),
            self.classes.index(entry.target),
            self.classes.index(entry.found),
            int(entry.valid),
            self.pictures.get(entry.factual_png),
            self.pictures.get(entry.counterfactual_png),
            [_number(metrics.get(metric.name)) for metric in self.metrics],
        ]


def _fact(name: str, text: str) -> str:
    shown = f"<code>{escape(text)}</code>" if name == "command" else escape(text)
    return f"<div><dt>{escape(name)}</dt><dd>{shown}</dd></div>"


def _left_out(kept: Gallery, budget: int, *, figures: bool) -> str:
    there = len(kept.entries)
    return (
        f'<p class="left-out"><strong>{kept.left_out:,} of {there + kept.left_out:,} answers are not on this page'
        f"</strong>, so that it stays below {budget / 1e6:g} MB. The {there:,} shown are the worst ones of each engine"
        f"{'; the figures count those left out, too' if figures else ''}.</p>"
    )


def _filled(parts: Mapping[str, str]) -> str:
    """The template with its {{names}} replaced, all at once, so that what is put in is never looked at again."""
    template = resources.files("cfx.benchmarks").joinpath("page.html").read_text(encoding="utf-8")
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)
    # A file name that is no Unicode holds surrogates, which UTF-8 cannot.
    return page.encode("utf-8", "replace").decode()


def _json(data: Any) -> str:
    """Compact JSON in ASCII without "<", so that no text in it ends the script element that it stands in."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _number(value: float | bool | None) -> float | int | None:
    """Six significant digits, as in records, so that both print alike; NaN and infinity are no numbers."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if isinstance(value, bool) or value == int(value) else float(f"{value:.6g}")


def _natural(name: str) -> tuple[bool, int, str]:
    """Classes that are numbers by number, before the others by name."""
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name.casefold()
