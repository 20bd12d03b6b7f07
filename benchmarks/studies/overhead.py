"""Measures the overhead of engines: the time of a search relative to that of the model calls that it makes.

    python -m cfx.benchmarks.studies.overhead --run runs/NAME [--engines latent,vcnet] [-n 256] [--repeats 5]

The script records every call that a search makes to the classifier and to the generative models, with its arguments and
whether it was differentiated. It then makes the same calls alone. The ratio of the two times is the engine's overhead.
Both times are medians of alternating repeats in one process. The last column is the time to score the same answers with
every metric but LPIPS. The questions come from a run of `cfx bench`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...bundles.bundle import load_bundle
from ...counterfactuals.engine import Engine
from ...counterfactuals.registry import load_engine
from ...memory import keep_freed_memory
from ...metrics.evaluate import evaluate
from ..questions import load_batch, read_questions


@dataclass
class Call:
    """One call to a model: the function, its arguments and options, and whether gradients were computed through it."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, object]
    differentiated: bool = False

    def repeat(self) -> None:
        """Make the same call again."""
        if not self.differentiated:
            with torch.no_grad():
                self.function(*self.arguments, **self.options)
            return
        with torch.enable_grad():
            arguments = [a.requires_grad_() if a.is_floating_point() else a for a in self.arguments]
            result = self.function(*arguments, **self.options)
            asked = [a for a in arguments if a.requires_grad]
            torch.autograd.grad(result.sum(), asked, allow_unused=True)


@dataclass
class Recorder:
    """Records the outermost calls to models while `listening`."""

    calls: list[Call] = field(default_factory=list)
    depth: int = 0

    def wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap `function` so that its calls are recorded."""

        def call(*arguments: Any, **options: Any) -> Any:
            self.depth += 1
            try:
                result = function(*arguments, **options)
            finally:
                self.depth -= 1
            if self.depth == 0:
                kept = tuple(a.detach().clone() if isinstance(a, Tensor) else a for a in arguments)
                recorded = Call(function, kept, options)
                self.calls.append(recorded)
                if isinstance(result, Tensor) and result.requires_grad:

                    def came_back(gradient: Tensor) -> None:
                        recorded.differentiated = True

                    result.register_hook(came_back)
            return result

        return call

    @contextmanager
    def listening(self, models: list[nn.Module]) -> Iterator[None]:
        """Record the calls to all public methods of these models while the context lasts."""
        patched: list[tuple[nn.Module, str]] = []
        for model in models:
            for kind in type(model).__mro__:
                if kind is nn.Module:
                    break
                for name, value in vars(kind).items():
                    if callable(value) and not name.startswith("_") and name not in vars(model):
                        object.__setattr__(model, name, self.wrapped(getattr(model, name)))
                        patched.append((model, name))
        try:
            yield
        finally:
            for model, name in patched:
                object.__delattr__(model, name)


def models_of(engine: Engine, classifier: nn.Module) -> list[nn.Module]:
    """The classifiers and the generative models of a search. Other parts count as the engine's own work."""
    parts = [getattr(engine, name) for name in (*engine.needs, *engine.uses)]
    models = [part for part in parts if any(hasattr(part, name) for name in ("decode", "integrate", "members"))]
    return [classifier, *(part for part in models if isinstance(part, nn.Module))]


def passes(engine: Engine, classifier: nn.Module, images: Tensor, targets: Tensor) -> list[Call]:
    """Record the model calls of a search."""
    recorder = Recorder()
    with recorder.listening(models_of(engine, classifier)):
        engine.search(classifier, images, targets)
    return recorder.calls


def overhead(
    engine: Engine, classifier: nn.Module, images: Tensor, targets: Tensor, repeats: int = 5
) -> tuple[float, float]:
    """Measure the seconds of a search and of its model calls alone, as medians of alternating repeats."""
    calls = passes(engine, classifier, images, targets)
    searching, bare = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        engine.search(classifier, images, targets)
        between = time.perf_counter()
        for call in calls:
            call.repeat()
        searching.append(between - started)
        bare.append(time.perf_counter() - between)
    return statistics.median(searching), statistics.median(bare)


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(prog="python -m cfx.benchmarks.studies.overhead", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="directory of a run of cfx bench, for its questions")
    parser.add_argument("--bundle", default="mnist", help="bundle, by name or directory")
    parser.add_argument("--engines", default="leap,latent,diffeo,vcnet,projection,pixel")
    parser.add_argument("-n", type=int, default=256, help="number of images, in one batch")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    keep_freed_memory()
    bundle = load_bundle(options.bundle)
    batch = load_batch(options.run, read_questions(options.run)[: options.n], bundle)
    images, targets = batch.images, batch.targets
    print(f"{len(batch)} images, {torch.get_num_threads()} threads\n")
    print("| engine | search, s | bare passes, s | ratio | scoring, s |\n|---|---|---|---|---|")
    for name in options.engines.split(","):
        engine = load_engine(name).from_bundle(bundle)
        search, bare = overhead(engine, bundle.classifier, images, targets, options.repeats)
        found = engine.search(bundle.classifier, images, targets)
        evaluate(bundle, images[:2], targets[:2], engine.search(bundle.classifier, images[:2], targets[:2]))
        started = time.perf_counter()
        evaluate(bundle, images, targets, found)
        scoring = time.perf_counter() - started
        print(f"| `{name}` | {search:.3f} | {bare:.3f} | {search / bare:.3f} | {scoring:.3f} |", flush=True)


if __name__ == "__main__":
    main()
