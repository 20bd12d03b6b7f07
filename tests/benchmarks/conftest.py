"""A benchmark on digits that come with the tests, in a directory of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from cfx.benchmarks.records import Record, Seen
from cfx.benchmarks.run import Run
from cfx.benchmarks.suite import Benchmark, Settings
from cfx.benchmarks.summary import Answers, gather
from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.registry import load_engine
from cfx.images.sets.labelled import Labelled
from cfx.images.writing import write_png


class Witness:
    """Remembers what a run tells, and can stop it."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.batches: list[tuple[str, int]] = []
        self.notes: list[str] = []
        self.stop_after = stop_after

    def done(self, engine: str, records: Sequence[Record], seconds: float) -> None:
        self.batches.append((engine, len(records)))
        if len(self.batches) == self.stop_after:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="session")
def labelled(digits) -> Labelled:
    """The 400 digits as a data set."""
    images, labels = digits
    return Labelled((images * 255).round().to(torch.uint8), labels)


@pytest.fixture(scope="session")
def folder(digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty digits, two a class, as PNG files."""
    directory = tmp_path_factory.mktemp("folder")
    images, labels = digits
    for number in range(0, 400, 20):
        write_png(directory / f"{number:03d}-{int(labels[number])}.png", images[number])
    return directory


Make = Callable[..., Benchmark]


@pytest.fixture
def make(bundle: Bundle, folder: Path, tmp_path: Path) -> Make:
    """A benchmark of the folder's images with some engines."""

    def call(*engines: str, **settings: object) -> Benchmark:
        given: dict[str, object] = {"images": str(folder), "lpips": False, "out": tmp_path / "run", "batch_size": 8}
        confidence = settings.get("confidence", 0.9)
        kinds = {name: load_engine(name) for name in engines or ("vcnet",)}
        loaded = {name: kind.from_bundle(bundle, confidence=confidence) for name, kind in kinds.items()}
        return Benchmark(bundle, loaded, Settings(**(given | settings)), ["cfx", "bench"])  # type: ignore[arg-type]

    return call


@pytest.fixture
def witness() -> type[Witness]:
    """Makes somebody who watches a run."""
    return Witness


@pytest.fixture
def perform() -> Callable[..., Run]:
    """Draws the questions if need be, runs to the end, and reads the run again."""

    def call(benchmark: Benchmark, watcher: Witness | None = None) -> Run:
        with benchmark.open() as begun:
            if not begun:
                benchmark.draw(print)
            benchmark.run(benchmark.load(), watcher or Witness())
        return benchmark.load()

    return call


@pytest.fixture
def comparable() -> Callable[[Run], dict[tuple[str, int], dict[str, Any]]]:
    """Records without what a clock or the system's memory says."""

    def call(run: Run) -> dict[tuple[str, int], dict[str, Any]]:
        result = {}
        for record in run.records():
            fields = json.loads(record.as_json())
            del fields["cost"]["seconds"], fields["cost"]["peak_memory_mb"]
            result[record.engine, record.pair] = fields
        return result

    return call


def record(pair: int, engine: str, valid: bool, **values: float | bool | None) -> Record:
    """A made-up answer."""
    cost = {"steps": 1, "forward_calls": 2, "backward_calls": 1, "seconds": 0.5, "peak_memory_mb": 100.0 + pair}
    seen = Seen("4", 0.9)
    return Record(pair, engine, "a.png", seen, "9", seen, valid, 0.95, values, cost, "f.png", "c.png")


@pytest.fixture
def answers() -> Callable[..., dict[str, Answers]]:
    """Answers out of (valid, L1) pairs by engine; the one called control is a control."""

    def call(**told: Sequence[tuple[bool, float]]) -> dict[str, Answers]:
        records = [
            record(pair, engine, valid, l1=l1)
            for engine, pairs in told.items()
            for pair, (valid, l1) in enumerate(pairs)
        ]
        count = max(len(pairs) for pairs in told.values())
        return gather(records, count, {engine: engine == "control" for engine in told})

    return call
