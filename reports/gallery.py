"""The answers on a page: those that there is room for, the worst first, and their pictures."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..answers.answer import Answer
from ..metrics.catalogue import METRICS


@dataclass(frozen=True)
class GalleryItem:
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

    @classmethod
    def of(cls, answer: Answer, factual_png: bytes, counterfactual_png: bytes) -> GalleryItem:
        """An answer with its pictures."""
        return cls(
            input=answer.question.source.name,
            engine=answer.engine,
            factual=answer.factual.name,
            factual_confidence=answer.factual.confidence,
            target=answer.target,
            found=answer.counterfactual.name,
            confidence=answer.target_confidence,
            valid=answer.valid,
            metrics=answer.metrics,
            factual_png=factual_png,
            counterfactual_png=counterfactual_png,
        )

    @classmethod
    def of_run(cls, answer: Answer, directory: Path) -> GalleryItem:
        """An answer of a run, with the pictures that lie in its directory."""
        pictures = [(directory / answer.files[kind]).read_bytes() for kind in ("factual", "counterfactual")]
        return cls.of(answer, *pictures)

    @property
    def severity(self) -> tuple[int, float]:
        """Smaller is worse: not valid, judges disagree, does not look real, the rest; in each the least real first."""
        failures = (not self.valid, self.metrics.get("judge_agrees") is False, self.metrics.get("looks_real") is False)
        tier = next((place for place, failed in enumerate(failures) if failed), len(failures))
        percentile = self.metrics.get("realism_percentile")
        return tier, math.inf if percentile is None else float(percentile)


class Gallery:
    """The answers that there is room for, worst first, and their pictures, each of them once."""

    def __init__(self, items: Sequence[GalleryItem], controls: Sequence[str], room: int) -> None:
        self.engines = list(dict.fromkeys(item.engine for item in items))
        self.controls = [name for name in controls if name in self.engines]
        self.classes = sorted({n for e in items for n in (e.factual, e.target, e.found)}, key=natural_order)
        present = {name for item in items for name, value in item.metrics.items() if value is not None}
        self.metrics = [m for m in METRICS if m.name in present | {"confidence"} and m.name != "validity"]
        self.places = {id(item): place for place, item in enumerate(items)}
        self.pictures: dict[bytes, int] = {}
        self.items: list[GalleryItem] = []
        ranked = sorted(items, key=lambda item: item.severity)
        stays = self._fit(ranked, room - len(self.as_json()))
        self.items = [item for item in ranked if id(item) in stays]
        self.left_out = len(ranked) - len(self.items)

    def as_json(self) -> str:
        """What the page's script reads, fit to stand inside a script element."""
        data = {
            "engines": self.engines,
            "controls": self.controls,
            "classes": self.classes,
            "metrics": [{"name": m.name, "label": m.label, "better": m.better, "kind": m.kind, "yesOrNo": m.yes_or_no}
                        for m in self.metrics],
            "entries": [self._row(item) for item in self.items],
            "pictures": [b64encode(picture).decode() for picture in self.pictures],
        }  # fmt: skip
        return as_script(data)

    def _fit(self, ranked: Sequence[GalleryItem], room: int) -> set[int]:
        """Take the worst left of each engine in turn until there is no room for an engine's next."""
        queues = {name: deque(item for item in ranked if item.engine == name) for name in self.engines}
        taken: set[int] = set()
        while queues:
            for name, queue in list(queues.items()):
                if not queue:
                    del queues[name]
                    continue
                item = queue.popleft()
                pictures = {item.factual_png, item.counterfactual_png} - self.pictures.keys()
                # a picture in base64, its quotes and comma; a row with its comma and longer numbers of pictures
                needed = sum(4 * math.ceil(len(picture) / 3) + 3 for picture in pictures)
                needed += len(as_script(self._row(item))) + 20
                if needed > room:
                    del queues[name]
                    continue
                room -= needed
                taken.add(id(item))
                for picture in (item.factual_png, item.counterfactual_png):
                    self.pictures.setdefault(picture, len(self.pictures))
        return taken

    def _row(self, item: GalleryItem) -> list[object]:
        metrics = {"confidence": item.confidence} | dict(item.metrics)
        return [
            self.places[id(item)],
            item.input,
            self.engines.index(item.engine),
            self.classes.index(item.factual),
            plain_number(item.factual_confidence),
            self.classes.index(item.target),
            self.classes.index(item.found),
            int(item.valid),
            self.pictures.get(item.factual_png),
            self.pictures.get(item.counterfactual_png),
            [plain_number(metrics.get(metric.name)) for metric in self.metrics],
        ]


def as_script(data: object) -> str:
    """Compact JSON in ASCII without "<", so that no text in it ends the script element that it stands in."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def plain_number(value: float | bool | None) -> float | int | None:
    """Six significant digits, as in records, so that both print alike; NaN and infinity are no numbers."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if isinstance(value, bool) or value == int(value) else float(f"{value:.6g}")


def natural_order(name: str) -> tuple[bool, int, str]:
    """Classes that are numbers by number, before the others by name."""
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name.casefold()
