"""Asks engines the questions of published counterfactuals, and scores both by the same functions.

    python -m cfx.benchmarks.studies.published DIR --out RUNS [--engines leap,graft,auto] [-n 10000]

DIR holds the MNIST archives of Hvilshøj, Iosifidis and Assent 2021 (arXiv 2111.00177), Real.npz, GB.npz, GL.npz and
GEN.npz of github.com/fhvilshoj/EvaluatingCounterfactuals: 10,000 counterfactuals of three methods. Engines are asked
the questions of GEN, whose targets were drawn at random; GB and GL chose targets of their own, so that only GEN is
compared pair by pair. Each gets a run directory in RUNS, which `cfx compare` reads, and an interrupted command goes on
where it was. Rows without a counterfactual, and rows whose target the factual is already, to their classifier or to
ours, are no questions. With the package digit-recognizer-py (`uv run --with digit-recognizer-py==0.1.0`) a classifier
that nobody here has made judges as well.

Their ElasticNet, 16.07, 42.76 and 99.17, comes out of their images by these functions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ...bundles.bundle import load_bundle
from ...counterfactuals.registry import engine_names
from ...errors import UsageError, unknown_name
from ...images.sets.labelled import Labelled
from ...images.writing import write_picture
from ...memory import keep_freed_memory
from ...progress import Lines, Progress
from ..compare import Finished
from ..settings import NEAREST_ACCEPTED
from .command import exit_code
from .peers_exchange import Array
from .published_data import GEN, METHODS, REAL, Published, find, read_published, read_real, write_questions
from .published_picture import draw
from .published_runs import answered_by, scored
from .published_table import BOTH, STRANGER, Agrees, Judging, Scored, as_markdown, both_agree, differences, of_run
from .stranger import PACKAGE, sees, stranger

QUESTIONS = "questions"
ENGINES = "vcnet,projection,latent,pixel,swap,leap,graft,auto"


@dataclass(frozen=True)
class Study:
    """What was scored.

    Attributes:
        factuals: (N, 28, 28) uint8.
        methods: the published counterfactuals.
        runs: the engines' runs, by engine.
        rows: what methods and engines measure, in the order of the table.
    """

    factuals: Array
    methods: list[Published]
    runs: dict[str, Finished]
    rows: list[Scored]


def study(directory: Path, engines: Sequence[str], count: int, out: Path, progress: Progress) -> Study:
    """Score the published counterfactuals and the engines' answers.

    Args:
        directory: of the archives.
        engines: names of engines, and of the control `nearest-accepted`.
        count: number of questions, from the first.
        out: directory of the runs.
        progress: shows how far it is.

    Raises:
        DataError: an archive is missing or damaged.
        UsageError: there is no such engine, or a directory belongs to another run.
    """
    known = [*engine_names(), NEAREST_ACCEPTED]
    for name in engines:
        if name not in known:
            raise UsageError(f"--engines {name}: {unknown_name('engine', name, known)}")
    archives = find(directory)
    factuals, labels = read_real(archives)
    if not 1 <= count <= len(factuals):
        raise UsageError(f"-n {count}: expected 1 to {len(factuals):,}, the number of rows in {REAL}.npz")
    methods = [each for name in METHODS if (each := _read(archives, name, len(factuals), progress))]
    files = write_questions(factuals, methods, out / QUESTIONS)
    bundle = load_bundle("mnist")
    more: dict[str, Agrees] = {BOTH: partial(both_agree, bundle)}
    if (judge := stranger()) is None:
        progress.note(f"{PACKAGE}: not installed, so its classifier judges nothing")
    else:
        more[STRANGER] = lambda images, targets: sees(judge, images) == targets
    reals = Labelled(torch.from_numpy(factuals)[:, None], torch.from_numpy(labels))
    judging = Judging(bundle, more, reals)
    done = Study(factuals, methods, {}, [])
    for method in methods:
        run = scored(bundle, method, files[method.name], count, out / method.name, progress)
        done.rows.append(of_run(judging, run, method.name, method))
    for name in engines:
        done.runs[name] = run = answered_by(bundle, name, files[GEN], count, out / name, progress)
        done.rows.append(of_run(judging, run, name))
    return done


def _read(archives: Path, name: str, count: int, progress: Progress) -> Published | None:
    """A method's counterfactuals; None, with a note, if the archive of one that asks no questions is not there."""
    if name != GEN and not (archives / f"{name}.npz").exists():
        progress.note(f"{archives}: no {name}.npz, so {METHODS[name]} is left out")
        return None
    return read_published(archives, name, count)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line of the script, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cfx.benchmarks.studies.published", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("directory", type=Path, metavar="DIR", help="directory of the archives")
    parser.add_argument("--engines", default=f"{ENGINES},{NEAREST_ACCEPTED}")
    parser.add_argument("-n", type=int, default=10_000, help="number of questions, from the first")
    parser.add_argument("--out", type=Path, required=True, metavar="RUNS", help="directory of the runs")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="draw the first questions that all methods share"
    )
    options = parser.parse_args(arguments)
    keep_freed_memory()

    def work() -> None:
        done = study(options.directory, options.engines.split(","), options.n, options.out, Lines())
        print(as_markdown(done.rows), differences(done.rows), sep="\n\n")
        if options.picture is not None:
            write_picture(options.picture, draw(done.factuals, done.methods, done.runs))

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
