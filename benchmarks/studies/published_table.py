"""The tables of the study of published counterfactuals: each method and engine, and their paired differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...bundles.bundle import Bundle
from ...images.sets.labelled import Labelled
from ...intervals import Estimate, estimates, paired_difference
from ...metrics.catalogue import BY_NAME
from ...metrics.scene import CLASSIFIER_JUDGES
from ...metrics.substitutability import nearest_labels
from ..compare import Finished
from ..questions import load_pictures
from ..run import image_file
from ..summary import SHARES, YES_OR_NO
from .published_data import GEN, Published, row_of

VALID, ELASTIC, BOTH, STRANGER = "valid", "elastic_net", "both", "stranger"
LABELS = {VALID: "valid", ELASTIC: "ElasticNet", BOTH: "both judges agree", STRANGER: "stranger's CNN agrees"}
OURS = {BOTH, STRANGER}
"""Shares that this study computes."""
SHOWN = (
    "judge_agrees", BOTH, "referee_agrees", STRANGER, "looks_real", "im1", "im2", "cout", "l1", ELASTIC,
)  # fmt: skip
SETS = ("frechet", "substitutability")
PAIRED = ("judge_agrees", BOTH, STRANGER, "looks_real", "im1", "l1", ELASTIC)
BATCH = 500  # pictures

Agrees = Callable[[Tensor, Tensor], Tensor]
"""agrees(images (N, 1, 28, 28) in [0, 1], targets (N,)) -> whether the target is seen, (N,) bool"""


@dataclass(frozen=True)
class Judging:
    """What methods and engines are judged by, beside the metrics of their runs.

    Attributes:
        bundle: of the runs.
        agrees: judges, by the names in `OURS`.
        reals: the factuals, and their labels, to find out what can be learned from counterfactuals.
    """

    bundle: Bundle
    agrees: Mapping[str, Agrees]
    reals: Labelled


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What one method or engine measures.

    Attributes:
        name: of the method or engine.
        questions: number of questions that it was asked.
        valid: share of valid answers; of published ones as stored, over all rows of their file.
        values: (N,) value of each question by metric, NaN where it is not valid or has none.
        sets: values over all valid counterfactuals, by metric; None where there is none.
        seconds: mean seconds of a search for one image; None of published ones.
    """

    name: str
    questions: int
    valid: Estimate | None
    values: Mapping[str, np.ndarray]
    sets: Mapping[str, float | None]
    seconds: float | None


def elastic_net(l1: np.ndarray, l2: np.ndarray) -> np.ndarray:
    """L1 + L2, not squared, of changes of pixels in a range of 1: ElasticNet as Hvilshøj et al. compute it, (N,)."""
    return l1 + l2


def of_run(judging: Judging, finished: Finished, name: str, method: Published | None = None) -> Scored:
    """What an engine of a finished run measures.

    Args:
        judging: what it is judged by.
        finished: the run.
        name: of the engine.
        method: the published counterfactuals, if the engine stands for them.
    """
    columns = finished.columns[name]
    numbers = np.flatnonzero(columns.valid)
    values = {metric: np.where(columns.valid, each, np.nan) for metric, each in columns.values.items()}
    values[ELASTIC] = elastic_net(values["l1"], values["l2"])
    for judge in OURS:
        values[judge] = np.full(len(columns.valid), np.nan)
    for judge, found in _agreement(judging, finished, name, numbers).items():
        values[judge][numbers] = found
    valid = (method.valid if method is not None else columns.valid).astype(float)
    seconds = finished.summary.engines[name].metrics["seconds"]["all"]
    learned = _substitutability(judging, finished, name, numbers)
    return Scored(
        name=name,
        questions=len(columns.valid),
        valid=estimates({VALID: valid}, {VALID})[VALID],
        values=values,
        sets={metric: columns.sets.get(metric) for metric in SETS} | {"substitutability": learned},
        seconds=None if method is not None or seconds is None else seconds.mean,
    )


def _agreement(judging: Judging, finished: Finished, name: str, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Whether each of some judges sees the target in the counterfactuals of some questions, (M,)."""
    found = {judge: np.zeros(0) for judge in judging.agrees}
    for images, targets in _pictures(judging.bundle, finished, name, numbers):
        for judge, agrees in judging.agrees.items():
            found[judge] = np.append(found[judge], agrees(images, targets).cpu().numpy())
    return found


def _pictures(bundle: Bundle, finished: Finished, name: str, numbers: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    """The counterfactuals of some questions, (B, 1, 28, 28) in [0, 1], and their targets (B,), a batch at a time."""
    run = finished.run
    for start in range(0, len(numbers), BATCH):
        some = numbers[start : start + BATCH].tolist()
        images = load_pictures([run.path / image_file(name, number) for number in some], bundle)
        yield (
            images,
            torch.tensor([bundle.classes.index(run.questions[number].target) for number in some]).to(images.device),
        )


def _substitutability(judging: Judging, finished: Finished, name: str, numbers: np.ndarray) -> float | None:
    """How many real images in odd rows a nearest neighbour sees rightly that learned from the answers to even rows.

    None if a class has no answer among these.
    """
    questions = finished.run.questions
    even = np.array([number for number in numbers.tolist() if row_of(questions[number].source.name) % 2 == 0])
    if len({questions[number].target for number in even.tolist()}) < len(judging.bundle.classes):
        return None
    tested = judging.reals[1::2]
    blocks = ((images.cpu(), targets.cpu()) for images, targets in _pictures(judging.bundle, finished, name, even))
    return float((nearest_labels(blocks, tested.images) == tested.labels).float().mean())


@torch.inference_mode()
def both_agree(bundle: Bundle, images: Tensor, targets: Tensor) -> Tensor:
    """Whether both judges that are classifiers see the target, each by itself, (N,) bool."""
    judges = [bundle.judges.part(name) for name in CLASSIFIER_JUDGES]
    return torch.stack([judge(images).argmax(dim=1) == targets for judge in judges]).all(dim=0)


def as_markdown(rows: Sequence[Scored]) -> str:
    """All methods and engines, a line each; means over the valid answers, with their 95 % intervals."""
    heads = ["", "questions", LABELS[VALID], *map(_label, SHOWN), *map(_label, SETS), "s an image"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        figures = estimates(dict(row.values), YES_OR_NO | OURS, SHARES | OURS)
        cells = [_cell("validity", row.valid), *(_cell(metric, figures[metric]) for metric in SHOWN)]
        cells += [_set_cell(metric, row.sets[metric]) for metric in SETS]
        seconds = "n/a" if row.seconds is None else f"{row.seconds:.3g}"
        lines.append(f"| `{row.name}` | {row.questions:,} | {' | '.join(cells)} | {seconds} |")
    return "\n".join(lines)


def differences(rows: Sequence[Scored], reference: str = GEN) -> str:
    """Paired differences of each engine from published answers to the same questions, over those that both solved.

    Args:
        rows: what was measured; those of other questions are left out.
        reference: name of the published method.
    """
    (base,) = [row for row in rows if row.name == reference]
    heads = [f"less `{reference}`", "pairs", *map(_label, PAIRED)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        if row.seconds is None:  # published, too
            continue
        both = ~np.isnan(row.values["l1"]) & ~np.isnan(base.values["l1"])
        found = {name: paired_difference(row.values[name][both], base.values[name][both]) for name in PAIRED}
        cells = " | ".join(_cell(name, found[name], signed=True) for name in PAIRED)
        lines.append(f"| `{row.name}` | {int(both.sum()):,} | {cells} |")
    return "\n".join(lines)


def _set_cell(metric: str, value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1%}" if BY_NAME[metric].kind == "share" else f"{value:.3g}"


def _label(metric: str) -> str:
    return LABELS.get(metric) or BY_NAME[metric].label


def _cell(metric: str, figure: Estimate | None, *, signed: bool = False) -> str:
    """A mean with its interval; shares as percentages."""
    if figure is None:
        return "n/a"
    share = metric in OURS or (metric in BY_NAME and BY_NAME[metric].kind == "share")
    form = ("{:+.1%}" if signed else "{:.1%}") if share else ("{:+.3g}" if signed else "{:.3g}")
    ends = "" if figure.low is None else f" ({form.format(figure.low)} to {form.format(figure.high)})"
    return f"{form.format(figure.mean)}{ends}"
