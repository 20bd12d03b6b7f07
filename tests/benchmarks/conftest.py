"""A benchmark on digits that come with the tests, in a directory of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from cfx.benchmarks.finish import write_results
from cfx.benchmarks.run import Run
from cfx.benchmarks.settings import Settings
from cfx.benchmarks.suite import Benchmark
from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.registry import load_engine
from cfx.images.sets.labelled import Labelled
from cfx.images.writing import write_png


class Witness:
    """Progress that remembers what a run tells, and can stop it."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.batches: list[tuple[str, int]] = []
        self.notes: list[str] = []
        self.stop_after = stop_after

    @contextmanager
    def task(self, label: str, total: int | None = None, done: int = 0) -> Iterator[Watched]:
        yield Watched(self, label)

    def note(self, text: str) -> None:
        self.notes.append(text)


class Watched:
    def __init__(self, witness: Witness, engine: str) -> None:
        self.witness = witness
        self.engine = engine

    def advance(self, count: int = 1, **figures: float) -> None:
        if not figures:
            return
        assert 0 <= figures["valid"] <= 1
        self.witness.batches.append((self.engine, count))
        if len(self.witness.batches) == self.witness.stop_after:
            raise KeyboardInterrupt


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

    def call(benchmark: Benchmark, watcher: Witness | None = None, *, fresh: bool = False) -> Run:
        with benchmark.directory.held(benchmark.identity, fresh=fresh) as begun:
            if not begun:
                benchmark.sample()
            run = benchmark.load()
            if benchmark.finished_summary(run) is None:
                write_results(run, benchmark.answer(run, watcher or Witness()))
        return benchmark.load()

    return call


@pytest.fixture
def comparable() -> Callable[[Run], dict[tuple[str, int], dict[str, Any]]]:
    """Records without what a clock or the system's memory says."""

    def call(run: Run) -> dict[tuple[str, int], dict[str, Any]]:
        result = {}
        for answer in run.answers:
            fields: dict[str, Any] = json.loads(json.dumps(answer.as_json()))
            del fields["cost"]["seconds"], fields["cost"]["peak_memory_mb"]
            result[answer.engine, fields["pair"]] = fields
        return result

    return call
