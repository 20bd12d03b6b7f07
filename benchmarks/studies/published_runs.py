"""Asks engines the questions of published counterfactuals, and scores these as answers: a run directory for each."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ...answers.answer import Cost
from ...answers.loop import Answered
from ...answers.pipeline import describe
from ...bundles.bundle import Bundle
from ...counterfactuals.registry import load_engine
from ...metrics.evaluate import load_scoring
from ...progress import Progress
from ...runs.directory import SUMMARY
from ...runs.identity import RunIdentity
from ...runs.inputs import FileInputs, read_targets
from ..compare import Finished, read_finished
from ..finish import finish, write_results
from ..questions import QuestionSampler, Sample, load_batch
from ..run import Run, envelope_of, questions_file, run_directory
from ..runner import record
from ..settings import NEAREST_ACCEPTED, Settings
from ..suite import Benchmark
from .peers import counterfactuals_of
from .published_data import Published, row_of

BATCH = 256  # counterfactuals


def answered_by(bundle: Bundle, name: str, targets: Path, count: int, out: Path, progress: Progress) -> Finished:
    """The run in which an engine, or `nearest-accepted`, answers the questions; goes on where it was interrupted.

    A finished run of the same questions and models is read as it is, also one of an earlier version of the code.

    Args:
        bundle: holds the models.
        name: of the engine.
        targets: the questions, as `write_questions` writes them.
        count: how many of them, from the first.
        out: directory of the run.
        progress: shows how far it is.

    Raises:
        UsageError: the directory belongs to another run.
    """
    control = name == NEAREST_ACCEPTED
    engines = {} if control else {name: load_engine(name).from_bundle(bundle)}
    settings = Settings(targets=str(targets), count=count, lpips=False, nearest=control, out=out)
    benchmark = Benchmark(bundle, engines, settings, _command())
    if (before := _finished(out, benchmark.identity)) is not None:
        return before
    with benchmark.directory.held(benchmark.identity) as begun:
        if not begun:
            benchmark.sample(progress)
        load_scoring(bundle)
        run = benchmark.load()
        write_results(run, benchmark.answer(run, progress))
    return read_finished(out)


def scored(bundle: Bundle, method: Published, targets: Path, count: int, out: Path, progress: Progress) -> Finished:
    """The run that has the published counterfactuals of a method as answers; goes on where it was interrupted.

    Nothing of theirs is resized, clipped or rounded. Valid is what their own classifier sees as the target; the
    confidence is the explained classifier's. What a search cost is not known, and said to be 0 s.

    Args:
        method: the counterfactuals.
        bundle, targets, count, out, progress: as in `answered_by`.

    Raises:
        UsageError: the directory belongs to another run.
    """
    paths, listed = read_targets(targets, bundle.classes)
    inputs = FileInputs(paths, bundle)
    own = {"published": method.name, "valid": "as their own classifier says"}
    digest = {"sha256": hashlib.sha256(targets.read_bytes()).hexdigest()}
    values = RunIdentity.of(bundle, inputs, count=count, targets=digest, confidence=0.0, seed=0).values
    identity = RunIdentity({**values, "engines": {method.name: own}})
    if (before := _finished(out, identity)) is not None:
        return before
    directory = run_directory(out)
    with directory.held(identity) as begun:
        if not begun:
            with progress.task("reading", count) as task:
                QuestionSampler(bundle, inputs, directory, Sample(targets=listed, count=count)).sample(task)
            directory.begin(
                identity,
                command=_command(),
                device=bundle.device.type,
                batch_size=BATCH,
                questions=questions_file(out),
            )
        load_scoring(bundle)
        run = Run.load(out)
        with progress.task(method.name, len(run.questions), len(run.answers)) as task:
            for start in range(0, len(run.questions), BATCH):
                task.advance(_score(bundle, run, method, range(start, min(start + BATCH, len(run.questions)))))
        write_results(run, finish(run, bundle, {method.name: False}))
    return read_finished(out)


@torch.no_grad()
def _score(bundle: Bundle, run: Run, method: Published, numbers: Sequence[int]) -> int:
    """Record the counterfactuals of some questions that have no record yet; return how many these were."""
    questions = [run.questions[number] for number in numbers if not run.has(method.name, [run.questions[number]])]
    if not questions:
        return 0
    rows = [row_of(question.source.name) for question in questions]
    batch = load_batch(run.path, questions, bundle)
    found = counterfactuals_of(bundle, method.floats(rows), batch.targets, 0.0)
    found = replace(found, valid=torch.from_numpy(method.valid[rows]).to(bundle.device))
    envelope, costs = envelope_of(run.manifest, method.name), [Cost(seconds=0.0)] * len(rows)
    answers = describe(bundle, method.name, batch, found, costs, envelope)
    record(run, [Answered(question=each.question, engine=method.name, answers=(each,)) for each in answers])
    return len(questions)


def _finished(out: Path, identity: RunIdentity) -> Finished | None:
    """The finished run in a directory if it asks the same of the same models, whatever the version of the code."""
    if not (out / SUMMARY).is_file():
        return None
    found = read_finished(out)
    config, compared = found.run.manifest.config, ("count", "targets", "images", "bundle", "confidence")
    return found if all(config.get(name) == identity.values.get(name) for name in compared) else None


def _command() -> list[str]:
    return ["python", "-m", "cfx.benchmarks.studies.published", *sys.argv[1:]]
