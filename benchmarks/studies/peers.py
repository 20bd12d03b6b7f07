"""Runs other people's tools on the questions of a cfx run, with the same images, targets, threshold and classifier.

    python -m cfx.benchmarks.studies.peers --run runs/NAME --data DIR --peer proto --out runs/PEER [-n 100]

The peers run in a separate environment, which uv creates; cfx itself never imports them. Questions and answers are
exchanged through the directory runs/NAME.peers, where each answer is stored at once, so that the same command resumes
an interrupted search. The same judges score the answers. `peers_exchange.py` describes the tools and their settings.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import torch
from torch import Tensor

from ...answers.answer import Cost
from ...answers.loop import Answered
from ...answers.pipeline import describe
from ...answers.question import Question, targets_of
from ...bundles.bundle import Bundle, load_bundle
from ...counterfactuals.engine import Counterfactuals
from ...counterfactuals.goal import TargetClass
from ...counterfactuals.problem import Candidates, as_written
from ...documents import Table
from ...errors import CfxError, DataError, OutputError, UsageError, reason_of
from ...metrics.evaluate import requested
from ...reports.summary import BundleName
from ...runs.identity import RunIdentity
from ...runs.manifest import Manifest
from ...training.recipe import RECIPES
from ..finish import finish, write_results
from ..questions import QUESTIONS, as_lines, load_batch, read_questions
from ..run import Run, envelope_of, questions_file, run_directory
from ..runner import record
from .command import exit_code
from .peers_exchange import FOUND, PEERS, WORK, read_arrays
from .peers_export import work_of

OURS = ("PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV")  # environment variables that the peers must not inherit
PROGRAM = Path(__file__).with_name("peers_search.py")

# alibi 0.9.4 is under the Apache licence; the two searches are the same to the letter in 0.9.6, under BSL 1.1.
# TensorFlow and numpy are the newest versions that it supports. Its spaCy imports click, but does not require it.
PYTHON = "3.11"
PACKAGES = ("alibi[tensorflow]==0.9.4", "tensorflow==2.12.1", "numpy==1.24.3", "click")


@dataclass(frozen=True)
class Found:
    """What a peer found, one row per question.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1], not yet rounded to 8 bits; the factual if nothing was found.
        found: (N,) bool, whether the peer calls it a counterfactual.
        seconds: (N,) wall-clock time of each search, without warm-up, one image at a time.
        processor_seconds: (N,) processor time of all threads during the search.
        about: peer, settings, versions, threads, logit_difference, autoencoder_seconds, setup_seconds.
    """

    images: Tensor
    found: Tensor
    seconds: Tensor
    processor_seconds: Tensor
    about: dict[str, object]


def bundle_of(run: Path, manifest: Manifest, name: str | None) -> Bundle:
    """Load the bundle that a run was made with.

    Raises:
        UsageError: the bundle has changed since.
    """
    made_with = BundleName.from_json(manifest.settings.need_table("bundle"))
    bundle = load_bundle(name or made_with.name)
    if bundle.digest != made_with.digest:
        raise UsageError(
            f"{run}: made with another version of the bundle {made_with.name!r}; give that version's directory "
            "with --bundle, or repeat the run"
        )
    return bundle


def ask(exchange: Path, peer: str, threads: int) -> Found:
    """Run a peer in its own environment on an exchange directory, and read what it found.

    Raises:
        CfxError: uv is missing, the environment cannot be created, or the peer failed.
    """
    uv = shutil.which("uv")
    if uv is None:
        raise CfxError(
            "uv: not found on PATH; it creates the environment of the peers: run `pip install uv`, "
            "then the same command again"
        )
    packages = [word for package in PACKAGES for word in ("--with", package)]
    program = [str(PROGRAM), str(exchange), "--peer", peer, "--threads", str(threads)]
    command = [uv, "run", "--isolated", "--no-project", "--python", PYTHON, *packages, "python", *program]
    clean = {name: value for name, value in os.environ.items() if name not in OURS}
    clean |= {"OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    line = ""
    with subprocess.Popen(command, env=clean, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        for text in process.stderr or ():
            line = text.strip() or line
            print(text, end="", file=sys.stderr, flush=True)
    if process.returncode:
        reason = line.removeprefix("error: ") or "it printed nothing"
        raise CfxError(f"peer {peer}: failed with exit code {process.returncode}: {reason}")
    return read_found(exchange / peer / FOUND)


def read_found(path: Path) -> Found:
    """Read what a peer found.

    Raises:
        DataError: the file is missing, or has another format than `peers_search.py` writes.
    """
    try:
        arrays = read_arrays(path)
        tensors = (torch.from_numpy(arrays[name]) for name in ("images", "found", "seconds", "processor_seconds"))
        return Found(*tensors, about=json.loads(str(arrays["about"])))
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise DataError(f"{path}: not a valid answer of a peer ({error}); run the same command again") from error


@torch.no_grad()
def counterfactuals_of(bundle: Bundle, images: Tensor, targets: Tensor, threshold: float) -> Counterfactuals:
    """Convert what a peer found to an engine's result: rounded to 8 bits, with the explained classifier's validity.

    The images are not tightened. Peers count neither steps nor calls, so both are 0.
    """
    found = evaluate(bundle, as_written(images.to(bundle.device)), targets, threshold)
    nothing = torch.zeros(len(targets), dtype=torch.int64)
    return Counterfactuals(
        **vars(found),
        targets=targets,
        steps=nothing,
        forward_calls=nothing,
        backward_calls=nothing,
    )


@torch.no_grad()
def evaluate(bundle: Bundle, images: Tensor, targets: Tensor, threshold: float) -> Candidates:
    """Evaluate images (N, C, H, W) with the explained classifier."""
    rows = torch.arange(len(targets), device=targets.device)
    return Candidates.of(images, bundle.classifier(images).log_softmax(dim=1), TargetClass(targets, threshold), rows)


def score(
    bundle: Bundle, source: Path, questions: Sequence[Question], found: Found, peer: str, manifest: Manifest, out: Path
) -> Run:
    """Score what a peer found in the same way as an engine's answers, and write a run that `cfx compare` can read.

    Args:
        bundle: holds the classifier and the judges.
        source: directory of the run that the questions come from.
        questions: the questions.
        found: what the peer found, one row per question.
        peer: name of the peer.
        manifest: manifest of the run that the questions come from.
        out: directory of the run to write.
    """
    threshold = manifest.settings.need("confidence", float)
    settings = Table(found.about, "about").need_table("settings").values
    identity = RunIdentity({**manifest.config, "engines": {peer: settings}, "count": len(questions)})
    directory = run_directory(out)
    with directory.held(identity) as begun:
        if not begun:
            for question in questions:
                file = str(question.file)
                directory.write(file, (source / file).read_bytes())
            directory.write(QUESTIONS, as_lines(questions))
            command = ("python", "-m", "cfx.benchmarks.studies.peers", *sys.argv[1:])
            more = {"batch_size": 1, "questions": questions_file(out), "peer": found.about}
            directory.begin(identity, command=command, device=bundle.device.type, **more)
        run = Run.load(out)
        if not run.answered:
            batch = load_batch(out, questions, bundle)
            costs = [Cost(seconds=seconds) for seconds in found.seconds.tolist()]
            envelope = envelope_of(run.manifest, peer)
            answered = counterfactuals_of(bundle, found.images, batch.targets, threshold)
            asked = manifest.settings
            also = requested(lpips=bool(asked.get("lpips", str)), strokes=bool(asked.get("strokes", bool)))
            answers = describe(bundle, peer, batch, answered, costs, envelope, also=also)
            record(run, [Answered(question=each.question, engine=peer, answers=(each,)) for each in answers])
        write_results(run, finish(run, bundle, {peer: False}))
    return run


def report(bundle: Bundle, run: Run, found: Found) -> dict[str, object]:
    """Figures that `cfx compare` does not show: the peer's success by its own criterion, and its settings."""
    threshold = run.manifest.settings.need("confidence", float)
    targets = targets_of(run.questions, bundle)
    images = found.images.to(bundle.device)
    unrounded = evaluate(bundle, images, targets, threshold)
    reached = evaluate(bundle, as_written(images), targets, 0.0)
    return {
        "run": str(run.path),
        "pairs": len(run.questions),
        "found": int(found.found.sum()),
        "valid": sum(answer.valid for answer in run.answers),
        "valid_before_rounding": int(unrounded.valid.sum()),
        "target_most_probable": int(reached.valid.sum()),
        "median_confidence": round(float(reached.confidence.median()), 4),
        "mean_seconds": round(float(found.seconds.mean()), 3),
        "mean_processor_seconds": round(float(found.processor_seconds.mean()), 3),
        **found.about,
    }


def compare(options: argparse.Namespace) -> dict[str, object]:
    """Run the command with parsed options."""
    if options.n < 1:
        raise UsageError(f"-n {options.n}: expected at least one question")
    manifest = Manifest.read(options.run)
    bundle = bundle_of(options.run, manifest, options.bundle)
    threshold = manifest.settings.need("confidence", float)
    questions = read_questions(options.run)[: options.n]
    if bundle.name not in RECIPES:
        raise UsageError(
            f"bundle {bundle.name}: the peers need its training images, and cfx knows no data set of that name"
        )
    images, split = RECIPES[bundle.name].open(options.data)
    trained_on = images.load(split.train, bundle.shape).data.images
    exchange = options.run.resolve().with_name(options.run.resolve().name + ".peers")
    try:
        exchange.mkdir(parents=True, exist_ok=True)
        batch = load_batch(options.run, questions, bundle)
        work_of(bundle, batch, threshold, trained_on).save(exchange / WORK)
    except OSError as error:
        raise OutputError(
            f"{exchange}: could not be written ({reason_of(error)}); copy the run to another place"
        ) from error
    found = ask(exchange, options.peer, options.threads)
    run = score(bundle, options.run, questions, found, options.peer, manifest, options.out)
    return report(bundle, run, found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line of the script, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cfx.benchmarks.studies.peers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--run", type=Path, required=True, help="directory of a run, which need not be finished")
    parser.add_argument("--data", type=Path, required=True, help="directory of torchvision's data sets")
    parser.add_argument("--peer", choices=PEERS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="directory of the run to write, for cfx compare")
    parser.add_argument("--bundle", help="directory of the run's bundle, if its name is not enough")
    parser.add_argument("-n", type=int, default=100, help="number of pairs, from the beginning of the run")
    parser.add_argument("--threads", type=int, default=2, help="number of CPU threads")
    options = parser.parse_args(arguments)
    return exit_code(lambda: print(json.dumps(compare(options))))


if __name__ == "__main__":
    sys.exit(main())
