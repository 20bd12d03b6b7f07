"""The gallery of a page: as many answers as fit, the worst first, with their pictures."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..answers.answer import Answer
from ..answers.wording import rounded
from ..metrics.catalogue import METRICS
from ..metrics.ranges import RANGES


@dataclass(frozen=True)
class GalleryItem:
    """One answer in the gallery.

    Attributes:
        input: name of the image.
        engine: name of the engine.
        factual, factual_confidence: class that the explained classifier sees in the factual, and its probability.
        target: name of the target class.
        found: class that the classifier sees in the counterfactual.
        confidence: probability of the target in the counterfactual.
        valid: whether the counterfactual is valid.
        metrics: the metrics by name; None if a metric has no value.
        factual_png, counterfactual_png: contents of the PNG files.
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
        """Make an item from an answer and its pictures."""
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
        """Make an item from an answer of a run, with the pictures from the run's directory."""
        pictures = [(directory / answer.files[kind]).read_bytes() for kind in ("factual", "counterfactual")]
        return cls.of(answer, *pictures)

    @property
    def severity(self) -> tuple[int, float]:
        """Sort key, the worst first: not valid, judges disagree, does not look real, the rest; then by realism."""
        failures = (not self.valid, self.metrics.get("judge_agrees") is False, self.metrics.get("looks_real") is False)
        tier = next((place for place, failed in enumerate(failures) if failed), len(failures))
        percentile = self.metrics.get("realism_percentile")
        return tier, math.inf if percentile is None else float(percentile)


class Gallery:
    """As many answers as fit into `room` bytes, the worst first, and each of their pictures once."""

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
        chosen = self._choose(ranked, room - len(self.as_json()))
        self.items = [item for item in ranked if id(item) in chosen]
        self.left_out = len(ranked) - len(self.items)

    def as_json(self) -> str:
        """The data that the page's script reads, safe inside a script element."""
        data = {
            "engines": self.engines,
            "controls": self.controls,
            "classes": self.classes,
            "metrics": [{"name": m.name, "label": m.label, "better": m.better, "kind": m.kind, "yesOrNo": m.yes_or_no}
                        for m in self.metrics],
            "ranges": [vars(each) for each in RANGES],
            "entries": [self._row(item) for item in self.items],
            "pictures": [b64encode(picture).decode() for picture in self.pictures],
        }  # fmt: skip
        return as_script(data)

    def _choose(self, ranked: Sequence[GalleryItem], room: int) -> set[int]:
        """Choose the worst remaining answer of each engine in turn, until the next one does not fit."""
        queues = {name: deque(item for item in ranked if item.engine == name) for name in self.engines}
        taken: set[int] = set()
        while queues:
            for name, queue in list(queues.items()):
                if not queue:
                    del queues[name]
                    continue
                item = queue.popleft()
                pictures = {item.factual_png, item.counterfactual_png} - self.pictures.keys()
                # A picture takes base64, quotes and a comma; a row takes a comma and longer indices of pictures.
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
    """Compact ASCII JSON without "<", so that no text in it can end the surrounding script element."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def plain_number(value: float | bool | None) -> float | int | None:
    """A value with six significant digits, as in records; None for NaN and infinity."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if isinstance(value, bool) or value == int(value) else rounded(value)


def natural_order(name: str) -> tuple[bool, int, str]:
    """Sort key for class names: numbers first, by value; then the others, by name."""
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name.casefold()
