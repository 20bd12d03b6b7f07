"""The answers of a gallery: one of them, and the worst of many, as many as fit into a page."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..answers.answer import Answer
from ..answers.wording import rounded
from .pictures import Png, stored_size
from .section import BUDGET, as_script

COMMAS = 7  # bytes around a row and a picture: commas, quotes, and the digits by which indices of pictures may grow


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
        factual_png, counterfactual_png: paths of the PNG files, or their contents where there is no file.
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
    factual_png: Png
    counterfactual_png: Png

    @classmethod
    def of(cls, answer: Answer, factual_png: Png, counterfactual_png: Png) -> GalleryItem:
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
        """Make an item from an answer of a run, with the pictures in the run's directory."""
        return cls.of(answer, *(directory / answer.files[kind] for kind in ("factual", "counterfactual")))

    @property
    def pictures(self) -> tuple[Png, Png]:
        """Factual and counterfactual."""
        return self.factual_png, self.counterfactual_png

    @property
    def severity(self) -> tuple[int, float]:
        """Sort key, the worst first: not valid, judges disagree, does not look real, the rest; then by realism."""
        failures = (not self.valid, self.metrics.get("judge_agrees") is False, self.metrics.get("looks_real") is False)
        tier = next((place for place, failed in enumerate(failures) if failed), len(failures))
        percentile = self.metrics.get("realism_percentile")
        return tier, math.inf if percentile is None or math.isnan(percentile) else float(percentile)

    def row(self, position: int, before: int, after: int) -> dict[str, object]:
        """The answer as gallery.js reads it.

        Args:
            position: its place among all answers, from 0.
            before, after: indices of the factual and the counterfactual among the page's pictures.
        """
        values = {name: plain_number(value) for name, value in self.metrics.items()}
        return {
            "position": position,
            "input": self.input,
            "engine": self.engine,
            "seen": self.factual,
            "seenConfidence": plain_number(self.factual_confidence),
            "target": self.target,
            "found": self.found,
            "valid": self.valid,
            "before": before,
            "after": after,
            "metrics": {
                "confidence": plain_number(self.confidence),
                **{name: value for name, value in values.items() if value is not None},
            },
        }


def plain_number(value: float | bool | None) -> float | int | None:
    """A value with six significant digits, as in records; None for NaN and infinity."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if isinstance(value, bool) or value == int(value) else rounded(value)


@dataclass(order=True)
class Kept:
    """An answer that is kept, with what it was measured at when it came; the best one sorts first."""

    rank: tuple[float, float, int]  # severity and position, negated
    item: GalleryItem = field(compare=False)
    size: int = field(compare=False)  # bytes of its row

    @property
    def position(self) -> int:
        """Its place among all answers that were added."""
        return -self.rank[2]


class WorstAnswers:
    """The worst answers of each engine, as many as fit into `room` bytes with their pictures, each picture once.

    Answers are added one at a time. It keeps no more than what fits, so that memory does not grow with the number of
    answers, and asks for the sizes of pictures, but never reads them.

    Once there are too many, the best one of the engine with the most answers goes. So each engine keeps equally many,
    or all of its own, and those it keeps are always its worst.

    Attributes:
        count: number of answers that were added.
        engines: number of answers by engine, in the order in which the engines came.
        classes: names of all classes in the answers.
        metrics: names of all metrics that at least one answer has a value for.
    """

    def __init__(self, items: Iterable[GalleryItem] = (), *, room: int = BUDGET) -> None:
        self.room = room
        self.size = 0
        self.count = 0
        self.engines: dict[str, int] = {}
        self.classes: set[str] = set()
        self.metrics: set[str] = set()
        self._kept: dict[str, list[Kept]] = {}  # heaps by engine
        self._best_allowed: dict[str, tuple[float, float, int]] = {}  # rank of the last answer that went, by engine
        self._uses: Counter[Png] = Counter()
        self._sizes: dict[Png, int] = {}  # of the pictures in use
        for item in items:
            self.add(item)

    def add(self, item: GalleryItem) -> None:
        """Add an answer.

        Raises:
            DataError: one of its pictures is missing. Only pictures of answers that may be kept are looked at.
        """
        position = self.count
        self.count += 1
        self.engines[item.engine] = self.engines.get(item.engine, 0) + 1
        self.classes.update((item.factual, item.target, item.found))
        self.metrics.update(name for name, value in item.metrics.items() if value is not None)
        tier, percentile = item.severity
        rank = -tier, -percentile, -position
        if self._allows(item.engine, rank):
            row = len(as_script(item.row(position, 0, 0))) + 2 * COMMAS
            self._keep(Kept(rank, item, row))

    def fitted(self, room: int) -> WorstAnswers:
        """The worst of these answers, as many as fit into fewer bytes."""
        result = WorstAnswers(room=min(room, self.room))
        result.count, result.engines = self.count, self.engines
        result.classes, result.metrics = self.classes, self.metrics
        result._best_allowed = dict(self._best_allowed)
        for kept in self.ranked():
            if result._allows(kept.item.engine, kept.rank):
                result._keep(kept)
        return result

    def ranked(self) -> list[Kept]:
        """The answers that are kept, the worst first, those that are equally bad in the order in which they came."""
        return sorted((kept for heap in self._kept.values() for kept in heap), reverse=True)

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def _allows(self, engine: str, rank: tuple[float, float, int]) -> bool:
        """Whether no worse answer of the engine has gone already."""
        best = self._best_allowed.get(engine)
        return best is None or rank > best

    def _keep(self, new: Kept) -> None:
        pictures = {png: self._sizes.get(png) or stored_size(png) + COMMAS for png in new.item.pictures}
        if new.size + sum(pictures.values()) > self.room:
            return  # it alone is too large, and all others would go for it
        self.size += new.size
        for png, size in pictures.items():
            if not self._uses[png]:
                self._sizes[png] = size
                self.size += size
            self._uses[png] += 1
        heapq.heappush(self._kept.setdefault(new.item.engine, []), new)
        while self.size > self.room:
            self._drop()

    def _drop(self) -> None:
        """Let the best answer of the engine with the most answers go; of several such engines, that of the last one."""
        order = list(self.engines)
        engine = max(self._kept, key=lambda name: (len(self._kept[name]), order.index(name)))
        best = heapq.heappop(self._kept[engine])
        self._best_allowed[engine] = best.rank
        self.size -= best.size
        for png in set(best.item.pictures):
            self._uses[png] -= 1
            if not self._uses[png]:
                del self._uses[png]
                self.size -= self._sizes.pop(png)
