"""Compares engines at equal confidence: each is asked for several, and drawn against the one that its answers have.

    python -m cfx.benchmarks.studies.confidence --data DIR --out FILE.png [--bundle mnist] [--engines leap] [-n 200]

asks the same questions of test images at each confidence of `ASKED`, and draws how often answers look real, how often
judges agree and how far answers are (L1) against the mean confidence of the valid ones, over these. A figure at one
confidence is therefore of what an engine solves at that confidence; the Markdown table that is printed has the share.
The control `nearest-accepted` has a curve, too: the nearest real image that the classifier accepts. Each engine goes
back to the factual as far as it does by itself: those that do not stop at the confidence asked for are farther right.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from ...answers.asking import ask
from ...answers.pipeline import AnswerOptions
from ...answers.question import QuestionBatch, Source
from ...answers.seen import probabilities_of
from ...answers.targets import RandomTarget
from ...bundles.bundle import Bundle, load_bundle
from ...counterfactuals.engine import Engine
from ...counterfactuals.registry import load_engine
from ...images.writing import write_picture
from ...intervals import Estimate, estimates
from ...metrics.catalogue import BY_NAME
from ...runs.inputs import DataSetInputs
from ...training.recipe import shipped_test_images
from ..nearest import NearestAccepted
from ..pool import RealPool, pool_size, read_pool
from ..settings import NEAREST_ACCEPTED
from ..summary import SHARES, YES_OR_NO
from .answering import BATCH, answer_all
from .curves import CurvePoint, Panel, draw_curves

ASKED = (0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
DRAWN = ("looks_real", "judge_agrees", "l1")
METRICS = ("confidence", *DRAWN)

Make = Callable[[float], Engine]
"""make(confidence) -> the engine"""


@dataclass(frozen=True)
class Point:
    """What an engine does at one confidence.

    Attributes:
        engine: its name.
        asked: the confidence that was asked for.
        valid: share of the questions that it solved.
        figures: means over its valid answers, by metric; None if there are none.
    """

    engine: str
    asked: float
    valid: float
    figures: Mapping[str, Estimate | None]


def questions(bundle: Bundle, inputs: DataSetInputs, count: int, seed: int = 0) -> QuestionBatch:
    """Questions about random images (at most `count`) of those that the classifier gets right, with random targets."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    chosen: list[int] = []
    for some in order.split(BATCH):
        images = inputs.data.floats(some).to(bundle.device)
        right = probabilities_of(bundle.classifier, images).argmax(dim=1).cpu() == inputs.data.labels[some]
        chosen += some[right].tolist()
        if len(chosen) >= count:
            break
    chosen = chosen[:count]
    images = inputs.data.floats(torch.tensor(chosen)).to(bundle.device)
    sources = [Source(name=inputs.name(index)) for index in chosen]
    policy = RandomTarget(seed)
    return ask(bundle, images, sources, lambda row, seen: policy.wanted(chosen[row], seen.cpu(), bundle))


def measure(bundle: Bundle, batch: QuestionBatch, engines: Mapping[str, Make]) -> Iterator[Point]:
    """Ask each engine at each confidence."""
    options = AnswerOptions(metrics=frozenset(METRICS))
    for name, make in engines.items():
        for asked in ASKED:
            engine = make(asked)
            answers = answer_all(bundle, name, engine, batch, options)
            valid = [answer for answer in answers if answer.valid]
            values = {
                metric: np.array([np.nan if (found := each.value(metric)) is None else found for each in valid])
                for metric in METRICS
            }
            figures = estimates(values, YES_OR_NO, SHARES) if valid else {metric: None for metric in METRICS}
            yield Point(name, asked, len(valid) / len(answers), figures)


def makers(bundle: Bundle, inputs: DataSetInputs, names: Sequence[str]) -> dict[str, Make]:
    """How each engine is made for a confidence, and last the control, whose pool is read once."""
    pool: Callable[[], RealPool] = cache(lambda: read_pool(bundle, inputs, seed=0))
    size = pool_size(bundle, inputs)

    def made(name: str) -> Make:
        return lambda confidence: load_engine(name).from_bundle(bundle, confidence=confidence)

    return {name: made(name) for name in names} | {
        NEAREST_ACCEPTED: lambda confidence: NearestAccepted(confidence=confidence, pool=pool, size=size)
    }


def panels(points: Sequence[Point]) -> list[Panel]:
    """The panels of the picture; points without valid answers are left out."""
    found = []
    for metric in DRAWN:
        curves: dict[str, list[CurvePoint]] = {}
        for point in points:
            across, up = point.figures["confidence"], point.figures[metric]
            if across is not None and up is not None:
                curves.setdefault(point.engine, []).append(CurvePoint(across.mean, up.mean))
        found.append(Panel(BY_NAME["confidence"], BY_NAME[metric], curves))
    return found


def as_markdown(points: Sequence[Point]) -> str:
    """The figures with their 95 % intervals, a line for each engine and confidence."""
    labels = " | ".join(BY_NAME[metric].label for metric in METRICS)
    lines = [f"| engine | asked for | valid | {labels} |", "|---" * (3 + len(METRICS)) + "|"]
    for point in points:
        cells = " | ".join(_cell(metric, point.figures[metric]) for metric in METRICS)
        lines.append(f"| `{point.engine}` | {point.asked:g} | {point.valid:.1%} | {cells} |")
    return "\n".join(lines)


def _cell(metric: str, figure: Estimate | None) -> str:
    if figure is None:
        return "n/a"
    shown = BY_NAME[metric].shown
    ends = "" if figure.low is None or figure.high is None else f" ({shown(figure.low)} - {shown(figure.high)})"
    return f"{shown(figure.mean)}{ends}"


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(prog="python -m cfx.benchmarks.studies.confidence", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of torchvision's data sets")
    parser.add_argument("--bundle", default="mnist")
    parser.add_argument("--engines", default="leap,graft,latent,vcnet,projection")
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    inputs = DataSetInputs(shipped_test_images(bundle, options.data), "test")
    batch = questions(bundle, inputs, options.n)
    points = list(measure(bundle, batch, makers(bundle, inputs, options.engines.split(","))))
    write_picture(options.out, draw_curves(panels(points), controls=[NEAREST_ACCEPTED]))
    print(as_markdown(points))
    print(f"\n{len(batch)} questions; `{NEAREST_ACCEPTED}` is the nearest of {len(inputs):,} real images.")


if __name__ == "__main__":
    main()
