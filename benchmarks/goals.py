"""The table of the README: every engine on the same test digits, each with a random other target.

    python -m cfx.benchmarks.goals --data DIR [--bundle mnist] [-n 1000] [--engines latent,vcnet]

prints Markdown to stdout. Pairs are drawn from the test images that the classifier gets right, with seed 0.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..bundles.bundle import Bundle, load_bundle
from ..counterfactuals.engine import Engine
from ..counterfactuals.metrics.evaluate import evaluate
from ..counterfactuals.registry import engine_names, load_engine
from ..data.datasets import Labelled, load_torchvision
from ..data.memory import keep_freed_memory


@dataclass(frozen=True)
class Pairs:
    """Questions to ask: images (N, C, H, W) and, for each, a class that it is not (N,)."""

    images: Tensor
    targets: Tensor


@torch.no_grad()
def draw_pairs(bundle: Bundle, data: Labelled, count: int, seed: int = 0) -> Pairs:
    """`count` random images that the classifier gets right, each with a random other target."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data), generator=generator)
    chosen: list[int] = []
    for part in order.split(500):
        right = bundle.classifier(data.floats(part)).argmax(dim=1) == data.labels[part]
        chosen += part[right].tolist()
        if len(chosen) >= count:
            break
    index = torch.tensor(chosen[:count])
    others = torch.randint(1, len(bundle.classes), (len(index),), generator=generator)
    return Pairs(data.floats(index), (data.labels[index] + others) % len(bundle.classes))


@dataclass(frozen=True)
class Outcome:
    """One row of the table. Shares are in per cent; all but `valid` are of the valid ones."""

    engine: str
    valid: float
    judge_agrees: float
    looks_real: float
    im1: float
    l1: float
    seconds_for_one: float
    images_per_second: float


@torch.no_grad()
def measure(bundle: Bundle, name: str, pairs: Pairs, batch_size: int = 256, singles: int = 20) -> Outcome:
    """Run one engine over all pairs in batches, then over a few of them one at a time, warm."""
    engine: Engine = load_engine(name).from_bundle(bundle)
    images, targets = pairs.images, pairs.targets
    engine.search(bundle.classifier, images[:2], targets[:2])  # load and warm up
    columns: dict[str, list[Tensor]] = {"valid": []}
    seconds = 0.0
    for batch, wanted in zip(images.split(batch_size), targets.split(batch_size), strict=True):
        started = time.perf_counter()
        found = engine.search(bundle.classifier, batch, wanted)
        seconds += time.perf_counter() - started
        columns["valid"].append(found.valid)
        for metric, values in evaluate(bundle, batch, wanted, found).columns.items():
            if values is not None:
                columns.setdefault(metric, []).append(values)
    scores = {metric: torch.cat(values) for metric, values in columns.items()}
    valid = scores["valid"]
    alone: list[float] = []
    for place in range(min(singles, len(images))):
        started = time.perf_counter()
        engine.search(bundle.classifier, images[place : place + 1], targets[place : place + 1])
        alone.append(time.perf_counter() - started)

    def share(metric: str) -> float:
        return 100 * float(scores[metric][valid].float().mean())

    return Outcome(
        engine=name,
        valid=100 * float(valid.float().mean()),
        judge_agrees=share("judge_agrees"),
        looks_real=share("looks_real"),
        im1=float(scores["im1"][valid].median()),
        l1=float(scores["l1"][valid].median()),
        seconds_for_one=statistics.median(alone),
        images_per_second=len(images) / seconds,
    )


HEADINGS = (
    "engine", "valid", "judge agrees", "looks real", "IM1, median", "L1, median", "one image, warm",
    "images/s, batches of 256",
)  # fmt: skip


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a Markdown table."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    for o in outcomes:
        cells = (
            f"`{o.engine}`", f"{o.valid:.1f} %", f"{o.judge_agrees:.1f} %", f"{o.looks_real:.1f} %", f"{o.im1:.2f}",
            f"{o.l1:.1f}", f"{o.seconds_for_one:.3f} s", f"{o.images_per_second:.0f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Command line of the script."""
    parser = argparse.ArgumentParser(prog="python -m cfx.benchmarks.goals", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory with MNIST in torchvision's layout")
    parser.add_argument("--bundle", default="mnist", help="name or directory")
    parser.add_argument("-n", type=int, default=1000, help="number of pairs")
    parser.add_argument("--engines", default=",".join(engine_names()))
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    bundle = load_bundle(options.bundle)
    pairs = draw_pairs(bundle, load_torchvision(bundle.name, options.data, train=False), options.n)
    print(table([measure(bundle, name, pairs) for name in options.engines.split(",")]))


if __name__ == "__main__":
    main()
