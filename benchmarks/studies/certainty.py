"""Makes a classifier sure: `--goal certain` for the test images of which it is least sure.

    python -m cfx.benchmarks.studies.certainty --data DIR [--bundle mnist] [-n 200] [--engines leap,latent]
        [--preset paper]

prints for each engine, as Markdown: entropies before and after, in nats, of the classifier's probabilities, of the mean
of the ensemble's, where the bundle has one, and of the mean of the judges'; in how many answers that mean is sure, with
at least .9; how often the classifier's class and both judges' classes stay the same; how often the classifier's class
is the image's label, of the factuals and of the answers; how many answers are valid, and how far they are. An answer
that is sure of another class than the label has made the image certain and wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...answers.answer import Answer
from ...answers.asking import ask
from ...answers.pipeline import AnswerOptions
from ...answers.question import QuestionBatch, Source
from ...answers.seen import probabilities_of
from ...answers.wanted import Wanted
from ...bundles.bundle import Bundle, load_bundle
from ...classifiers.introspection.uncertainty import entropy
from ...counterfactuals.registry import load_engine
from ...metrics.scene import CLASSIFIER_JUDGES
from ...training.recipe import shipped_test_images
from .answering import BATCH, answer_all

SURE = 0.9  # lowest probability of a class at which judges are sure of it


@dataclass(frozen=True)
class Change:
    """A mean over the factuals and over the answers; None where the bundle lacks what is asked."""

    before: float | None
    after: float | None


@dataclass(frozen=True)
class Outcome:
    """What the answers of an engine are worth.

    Attributes:
        entropy, ensemble, judges: mean entropies of the classifier, of the ensemble's mean and of the judges' mean.
        judges_sure: share of images of whose class the judges' mean is sure.
        label_right: share of images in which the classifier sees the label.
        valid, class_kept, judges_kept: shares of the answers.
        l1, seconds: means over the answers.
    """

    entropy: Change
    ensemble: Change
    judges: Change
    judges_sure: Change
    label_right: Change
    valid: float
    class_kept: float
    judges_kept: float
    l1: float
    seconds: float


def least_certain(bundle: Bundle, images: Tensor, count: int, *, after: int = 0) -> QuestionBatch:
    """Questions about the images with the highest entropy of the classifier's probabilities.

    Args:
        bundle: holds the classifier.
        images: (N, C, H, W) in [0, 1].
        count: number of questions; fewer where there are no more images.
        after: how many images with the highest entropy are left out.
    """
    entropies = torch.cat([entropy(probabilities_of(bundle.classifier, each)) for each in images.split(BATCH)])
    rows = entropies.topk(min(after + count, len(entropies))).indices[after:].tolist()
    sources = [Source(name=str(row)) for row in rows]
    return ask(bundle, images[rows].to(bundle.device), sources, [Wanted("certain")] * len(rows))


def outcome(bundle: Bundle, batch: QuestionBatch, answers: Sequence[Answer], labels: Tensor) -> Outcome:
    """Compare the questions with their answers; `labels` (N,) are the true classes of the N factuals."""
    found = torch.stack([answer.pictures.counterfactual for answer in answers])
    seen = [probabilities_of(bundle.classifier, images) for images in (batch.images, found)]
    ensemble = [members(bundle, images) for images in (batch.images, found)]
    judges = [judged(bundle, images) for images in (batch.images, found)]
    classes = [each.argmax(dim=-1) for each in judges]

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    return Outcome(
        entropy=change(entropy, seen),
        ensemble=change(entropy_of_mean, ensemble),
        judges=change(entropy_of_mean, judges),
        judges_sure=change(lambda each: each.mean(dim=0).amax(dim=1) >= SURE, judges),
        label_right=change(lambda each: each.argmax(dim=1) == labels.to(each.device), seen),
        valid=mean([answer.valid for answer in answers]),
        class_kept=mean([answer.counterfactual.name == answer.factual.name for answer in answers]),
        judges_kept=float((classes[0] == classes[1]).all(dim=0).float().mean()),
        l1=mean([answer.value("l1") or 0.0 for answer in answers]),
        seconds=mean([answer.cost.seconds for answer in answers]),
    )


def change(measure: Callable[[Tensor], Tensor], sides: Sequence[Tensor | None]) -> Change:
    """The mean of what is measured on probabilities before and after."""
    return Change(*(None if side is None else float(measure(side).float().mean()) for side in sides))


def entropy_of_mean(probabilities: Tensor) -> Tensor:
    """The entropy (N,) of the mean of several classifiers' probabilities (M, N, K)."""
    return entropy(probabilities.mean(dim=0))


@torch.inference_mode()
def members(bundle: Bundle, images: Tensor) -> Tensor | None:
    """The probabilities (M, N, K) of the ensemble's classifiers; None if the bundle has no ensemble."""
    return bundle.part("ensemble")(images).softmax(dim=-1) if "ensemble" in bundle.parts else None


@torch.inference_mode()
def judged(bundle: Bundle, images: Tensor) -> Tensor:
    """The probabilities (M, N, K) of the judges that are classifiers."""
    usable = [name for name in CLASSIFIER_JUDGES if bundle.judges.usable(name)]
    return torch.stack([bundle.part(name)(bundle.shrink(images)).softmax(dim=1) for name in usable])


HEADS = (
    "engine", "entropy", "ensemble's entropy", "judges' entropy", f"judges sure (>= {SURE})", "label right", "valid",
    "class kept", "kept by both judges", "L1", "s an image",
)  # fmt: skip


def as_row(engine: str, its: Outcome) -> str:
    """A line of the table; of what changes, before -> after."""
    entropies = (_changed(each, "{:.3f}") for each in (its.entropy, its.ensemble, its.judges))
    shares = (_changed(each, "{:.1%}") for each in (its.judges_sure, its.label_right))
    kept = (f"{share:.1%}" for share in (its.valid, its.class_kept, its.judges_kept))
    cells = [f"`{engine}`", *entropies, *shares, *kept, f"{its.l1:.1f}", f"{its.seconds:.3f}"]
    return f"| {' | '.join(cells)} |"


def _changed(each: Change, form: str) -> str:
    return "n/a" if each.before is None else f"{form.format(each.before)} -> {form.format(each.after)}"


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
    data = shipped_test_images(bundle, options.data)
    batch = least_certain(bundle, data.floats(), options.n)
    labels = data.labels[[int(question.source.name) for question in batch.questions]]
    print(f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|", sep="\n")
    for name in options.engines.split(","):
        engine = load_engine(name).from_bundle(bundle, preset=options.preset)
        answers = answer_all(bundle, name, engine, batch, AnswerOptions(metrics=frozenset(("l1",))))
        print(as_row(name, outcome(bundle, batch, answers, labels)), flush=True)


if __name__ == "__main__":
    main()
