"""Several ways to make a classifier sure: how far apart the answers of one engine to one image are.

    python -m cfx.benchmarks.studies.several_ways --data DIR [--bundle mnist] [-n 100] [--after 0]
        [--engines delta-clue,nabla-clue]

asks each engine for four answers to each of the test images of which the classifier is least sure (`--goal certain`),
without the first `--after` of them (images that were looked at when an engine was tuned), and prints, with 95 %
intervals over the images: how many answers an image gets, the mean L1 distance of its answers from each other, how
many different classes they are seen as, the mean L1 distance from the image, and how many are valid; and the paired
differences in these from the first engine.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ...answers.answer import Answer
from ...answers.pipeline import AnswerOptions
from ...bundles.bundle import load_bundle
from ...counterfactuals.registry import load_engine
from ...intervals import estimates
from ..suite import shipped_test_images
from .answering import answer_all
from .certainty import least_certain

MEASURED = ("answers", "apart", "classes", "L1", "valid")


def of_image(answers: Sequence[Answer]) -> tuple[float, ...]:
    """What is `MEASURED` of the answers to one image; an image with a single answer has its answers 0 apart."""
    lengths = [answer.value("l1") or 0.0 for answer in answers]
    return (
        len(answers),
        answers[0].diversity or 0.0,
        len({answer.counterfactual.name for answer in answers}),
        sum(lengths) / len(lengths),
        sum(answer.valid for answer in answers) / len(answers),
    )


def in_words(values: np.ndarray) -> list[str]:
    """The means of columns (N, M) over the images, with their intervals."""
    found = estimates({each: values[:, place] for place, each in enumerate(MEASURED)})
    return [f"{each.mean:.3g} ({each.low:.3g} - {each.high:.3g})" for each in found.values() if each is not None]


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(prog="python -m cfx.benchmarks.studies.several_ways", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of torchvision's data sets")
    parser.add_argument("--bundle", default="mnist")
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("--after", type=int, default=0, help="leave out so many images with the highest entropy")
    parser.add_argument("--answers", type=int, default=4)
    parser.add_argument("--engines", default="delta-clue,nabla-clue,clue")
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    batch = least_certain(bundle, shipped_test_images(bundle, options.data).floats(), options.n, after=options.after)
    how = AnswerOptions(metrics=frozenset(("l1",)), count=options.answers)
    measured: dict[str, np.ndarray] = {}
    table = Table("engine", *MEASURED, "s an image")
    for name in options.engines.split(","):
        engine = load_engine(name).from_bundle(bundle)
        of_images: dict[str, list[Answer]] = defaultdict(list)
        for answer in answer_all(bundle, name, engine, batch, how):
            of_images[answer.question.source.name].append(answer)
        values = measured[name] = np.array([of_image(answers) for answers in of_images.values()])
        seconds = np.mean([answers[0].cost.seconds for answers in of_images.values()])
        table.add_row(name, *in_words(values), f"{seconds:.3f}")
    (first, *others) = measured
    for name in others:
        table.add_row(f"{name} less {first}", *in_words(measured[name] - measured[first]), "")
    Console().print(table)


if __name__ == "__main__":
    main()
