"""Measures finished runs by what another paper prints, to stand beside it.

    python -m cfx.benchmarks.studies.protocols RUN [RUN ...] --paper eccco|leapfactual [-n 1000] [--engines leap,auto]

`eccco`: implausibility and cost of Altmeyer et al. 2024 (ECCCo, arXiv 2312.10648), valid where the target is the most
probable class: so of a run with `--confidence 0.5`. Their cost is the L1 distance of pixels in [-1, 1], twice ours.
They ask a hundred random questions ten times. Needs the training images (`--data DIR`).

`leapfactual`: the relative changes of strokes that Cao et al. 2025 print (LeapFactual, arXiv 2510.14623). Theirs are
relative to what their model makes of the image and over redrawn digits with targets of all ten classes, so that a tenth
asks for the image's own; ours are relative to the image itself, and no question asks for its own class.

What is measured is measured of the pictures in the runs, on the first `-n` questions. Nothing is searched again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...answers.answer import Answer
from ...answers.question import indices_of
from ...bundles.bundle import Bundle, load_bundle
from ...intervals import Estimate, estimates
from ...metrics.evaluate import score
from ...metrics.scene import Scene, TrainingImages
from ..compare import Finished, read_finished
from ..questions import load_pictures
from ..training_images import OfBundle
from .command import exit_code

BATCH = 250  # answers


@dataclass(frozen=True)
class Column:
    """What one column of a paper's table is.

    Attributes:
        label: its heading.
        metric: name of the metric.
        factor: what the metric's values are multiplied by, for the paper's scale.
    """

    label: str
    metric: str
    factor: float = 1.0


@dataclass(frozen=True)
class Protocol:
    """What a paper prints.

    Attributes:
        columns: of the table, after the share of valid answers.
        printed: its own figures, a row each: the method, that share and the columns.
    """

    columns: tuple[Column, ...]
    printed: tuple[tuple[str, ...], ...]

    @property
    def metrics(self) -> frozenset[str]:
        """Names of the metrics."""
        return frozenset(column.metric for column in self.columns)


STROKES = tuple(Column(name, f"stroke_{name}") for name in ("area", "thickness", "width", "slant"))
PLAUSIBLE = (Column("implausibility", "implausibility"), Column("cost", "l1", 2.0))
PROTOCOLS = {
    "eccco": Protocol(
        PLAUSIBLE,
        (
            ("ECCCo, digits, LeNet-5", "1.00", ".387", "121"),
            ("ECCCo+, digits", "1.00", ".310", "173"),
            ("REVISE, digits", ".85", ".301", "228"),
            ("Schut, digits", ".01", ".289", "8.9"),
            ("Wachter, digits", ".99", ".335", "45.5"),
            ("ECCCo, clothes", ".93", ".42", ""),
            ("ECCCo+, clothes", ".59", ".38", ""),
            ("REVISE, clothes", ".10", ".38", ""),
            ("Schut, clothes", ".06", ".39", ""),
            ("Wachter, clothes", ".20", ".40", ""),
        ),
    ),
    "leapfactual": Protocol(
        STROKES,
        (
            ("Opt", ".878", ".236", ".177", ".275", "3.63"),
            ("cVAE swap", ".940", ".248", ".087", ".304", "2.89"),
            ("LeapFactual", ".988", ".166", ".082", ".197", "1.96"),
            ("LeapFactual_R", ".991", ".216", ".090", ".266", "2.13"),
        ),
    ),
}


@dataclass(frozen=True)
class Measured:
    """What an engine measures.

    Attributes:
        valid: share of valid answers.
        values: (M,) values of the valid answers by metric, NaN where one has none.
    """

    valid: float
    values: dict[str, np.ndarray]


def rescored(
    bundle: Bundle,
    finished: Finished,
    engine: str,
    names: frozenset[str],
    count: int,
    training: TrainingImages | None = None,
) -> dict[str, np.ndarray]:
    """Metrics of the valid answers of an engine to the first questions of a run, computed from the pictures.

    Args:
        bundle: of the run.
        finished: the run.
        engine: name of the engine.
        names: of the metrics.
        count: how many of the questions.
        training: for metrics that need the training images; None: they are not at hand.

    Returns:
        (M,) values by metric; NaN where an answer has none.
    """
    run = finished.run
    answers = [each for each in run.answers if each.engine == engine and each.place == 1 and each.valid]
    answers = [each for each in answers if (each.question.number or 0) < count]
    found: dict[str, list[float]] = {name: [] for name in names}
    for start in range(0, len(answers), BATCH):
        columns = score(_scene(bundle, run.path, answers[start : start + BATCH], training), names).columns
        for name in names:
            column = columns[name]
            some = min(BATCH, len(answers) - start)
            found[name] += [float("nan")] * some if column is None else column.double().tolist()
    return {name: np.array(values) for name, values in found.items()}


def _scene(bundle: Bundle, path: Path, answers: Sequence[Answer], training: TrainingImages | None) -> Scene:
    """The answers with their factuals, read from a run's pictures."""
    factuals, counterfactuals = (
        load_pictures([path / answer.files[which] for answer in answers], bundle)
        for which in ("factual", "counterfactual")
    )
    targets = indices_of((answer.question.target for answer in answers), bundle)
    seen = indices_of((answer.factual.name for answer in answers), bundle)
    return Scene.of(bundle, factuals, counterfactuals, targets, seen, training=training)


@torch.inference_mode()
def measured_in(
    path: Path, protocol: Protocol, engines: Sequence[str] | None, count: int, data: Path | None
) -> dict[str, Measured]:
    """What the engines of a finished run measure by a protocol.

    Args:
        path: of the run.
        protocol: of a paper.
        engines: those that are wanted; None for all. Those that the run does not have are left out.
        count: number of questions, from the first.
        data: directory of the data set that the bundle was trained on, if it is at hand.
    """
    finished = read_finished(path)
    bundle = load_bundle(finished.summary.bundle.name)
    training = OfBundle(bundle, data)
    return {
        engine: Measured(
            float(finished.columns[engine].valid[:count].mean()),
            rescored(bundle, finished, engine, protocol.metrics, count, training),
        )
        for engine in engines or finished.columns
        if engine in finished.columns
    }


def as_markdown(protocol: Protocol, measured: Mapping[str, Measured]) -> str:
    """The paper's rows, and those of engines: means with 95 % intervals, and medians."""
    heads = ["", "valid", *(column.label for column in protocol.columns)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [f"| {row[0]}, as printed | {' | '.join(row[1:])} |" for row in protocol.printed]
    for engine, its in measured.items():
        values = {column.label: column.factor * its.values[column.metric] for column in protocol.columns}
        figures = estimates(values) if its.valid else dict.fromkeys(values)
        cells = [_with_median(figures[column.label]) for column in protocol.columns]
        lines.append(f"| `{engine}` | {its.valid:.3f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _with_median(figure: Estimate | None) -> str:
    if figure is None:
        return "n/a"
    ends = "" if figure.low is None else f" ({figure.low:.3g} to {figure.high:.3g})"
    return f"{figure.mean:.3g}{ends}, median {figure.median:.3g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line of the script, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cfx.benchmarks.studies.protocols", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="directory of a finished run of cfx bench")
    parser.add_argument("--paper", choices=[*PROTOCOLS], required=True)
    parser.add_argument("--engines", help="default: all in the runs")
    parser.add_argument("-n", type=int, default=1000, help="number of questions, from the first")
    parser.add_argument("--data", type=Path, metavar="DIR", help="directory of the data set, for the training images")
    options = parser.parse_args(arguments)
    protocol = PROTOCOLS[options.paper]
    engines = options.engines.split(",") if options.engines else None

    def work() -> None:
        measured: dict[str, Measured] = {}
        for path in options.runs:
            measured |= measured_in(path, protocol, engines, options.n, options.data)
        print(as_markdown(protocol, measured))

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
