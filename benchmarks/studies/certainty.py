"""Makes a classifier sure: `--goal certain` for the test images of which it is least sure.

    python -m cfx.benchmarks.studies.certainty --data DIR [--bundle mnist] [-n 200] [--engines leap,latent]
        [--preset paper]

prints for each engine the entropy of the classifier's probabilities before and after, how many answers are valid, how
often the class that the classifier and the judges see stays the same, and how far the answers are.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ...answers.answer import Answer
from ...answers.asking import ask
from ...answers.pipeline import AnswerOptions, answer_batch
from ...answers.question import QuestionBatch, Source
from ...answers.seen import probabilities_of
from ...answers.wanted import Wanted
from ...bundles.bundle import Bundle, load_bundle
from ...classifiers.introspection.uncertainty import entropy
from ...counterfactuals.registry import load_engine
from ..suite import shipped_test_images

BATCH = 100  # images


@dataclass(frozen=True)
class Outcome:
    """What the answers of an engine are worth; means, entropies in nats."""

    before: float
    after: float
    valid: float
    class_kept: float
    judges_class_kept: float
    l1: float
    seconds: float


def least_certain(bundle: Bundle, images: Tensor, count: int) -> QuestionBatch:
    """Questions about the images (N, C, H, W) with the highest entropy of the classifier's probabilities."""
    entropies = torch.cat([entropy(probabilities_of(bundle.classifier, each)) for each in images.split(BATCH)])
    rows = entropies.topk(min(count, len(entropies))).indices.tolist()
    sources = [Source(name=str(row)) for row in rows]
    return ask(bundle, images[rows].to(bundle.device), sources, [Wanted("certain")] * len(rows))


def outcome(bundle: Bundle, batch: QuestionBatch, answers: Sequence[Answer]) -> Outcome:
    """Compare the questions with their answers."""
    found = torch.stack([answer.pictures.counterfactual for answer in answers])
    judge = bundle.part("judge")
    with torch.inference_mode():
        kept = judge(batch.images).argmax(dim=1) == judge(found).argmax(dim=1)

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    return Outcome(
        before=float(entropy(probabilities_of(bundle.classifier, batch.images)).mean()),
        after=float(entropy(probabilities_of(bundle.classifier, found)).mean()),
        valid=mean([answer.valid for answer in answers]),
        class_kept=mean([answer.counterfactual.name == answer.factual.name for answer in answers]),
        judges_class_kept=float(kept.float().mean()),
        l1=mean([answer.value("l1") or 0.0 for answer in answers]),
        seconds=mean([answer.cost.seconds for answer in answers]),
    )


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(prog="python -m cfx.benchmarks.studies.certainty", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of torchvision's data sets")
    parser.add_argument("--bundle", default="mnist")
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--engines", default="leap,latent")
    parser.add_argument("--preset", help="preset of all of these engines, such as paper")
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    batch = least_certain(bundle, shipped_test_images(bundle, options.data).floats(), options.n)
    table = Table("engine", "entropy before", "after", "valid", "class kept", "judges' class kept", "L1", "s an image")
    for name in options.engines.split(","):
        engine = load_engine(name).from_bundle(bundle, preset=options.preset)
        answers: list[Answer] = []
        for start in range(0, len(batch), BATCH):
            some = batch.only(range(start, min(start + BATCH, len(batch))))
            answers += answer_batch(bundle, name, engine, some, AnswerOptions(metrics=frozenset(("l1",))))
        its = outcome(bundle, batch, answers)
        shares = (f"{share:.1%}" for share in (its.valid, its.class_kept, its.judges_class_kept))
        table.add_row(name, f"{its.before:.3f}", f"{its.after:.3f}", *shares, f"{its.l1:.1f}", f"{its.seconds:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
