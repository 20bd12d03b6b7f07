"""Runs side by side, from what their directories hold: nothing is searched again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..intervals import Estimate, paired_difference
from .pairs import Pair
from .run import Run, load_run
from .summary import OF_ALL, PER_PAIR, Answers, gather, read_summary, summarise

SETS = ("frechet", "diversity", "images_per_second", "peak_memory_mb")


@dataclass(frozen=True)
class Finished:
    """A finished run, read: its questions, its summary, and every value by engine."""

    run: Run
    summary: dict[str, Any]
    answers: dict[str, Answers]

    @property
    def questions(self) -> list[tuple[str, str]]:
        """What was asked: input and target of each pair."""
        return questions(self.run.pairs)


def questions(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    """Input and target of each pair."""
    return [(pair.input, pair.target) for pair in pairs]


def read_finished(directory: Path) -> Finished:
    """Read a finished run.

    Raises:
        UsageError: there is none, or it is not finished.
        DataError: it is damaged.
    """
    run = load_run(directory)
    summary = read_summary(directory)
    names = {name: about["control"] for name, about in summary["engines"].items()}
    answers = gather(run.records(), len(run.pairs), names)
    for name, about in summary["engines"].items():
        for metric in SETS:
            for found in about["metrics"].get(metric, {}).values():
                answers[name].sets[metric] = found and found["mean"]
    return Finished(run, summary, answers)


def side_by_side(runs: Sequence[Finished]) -> tuple[dict[str, Any], bool]:
    """One summary of the engines of several runs.

    An engine that two runs have is told apart by its run's name. Where all runs ask the same questions, the common
    pairs are those that all engines of all runs solved; else there are none.

    Returns:
        The summary, and whether the questions are the same.

    Raises:
        UsageError: the runs explain different bundles.
    """
    first = runs[0]
    digests = {run.summary["bundle"]["digest"] for run in runs}
    same = all(run.questions == first.questions for run in runs)
    notes: list[str] = []
    if len(digests) > 1:
        notes.append("the runs explain different models (other bundle digests): differences may be the models'")
    labels = run_names([run.run.directory for run in runs])
    taken = [name for run in runs for name in run.answers]
    merged: dict[str, Answers] = {}
    for label, run in zip(labels, runs, strict=True):
        for name, answers in run.answers.items():
            merged[f"{label}: {name}" if taken.count(name) > 1 else name] = answers
    for run in runs:
        notes += [note for note in run.summary["notes"] if note not in notes]
    if same:
        return summarise(merged, bundle=first.summary["bundle"], notes=notes), True
    notes.append("the runs ask different questions: only each engine's own figures can be shown, not common pairs")
    parts = [summarise({label: answers}, bundle=first.summary["bundle"]) for label, answers in merged.items()]
    engines: dict[str, Any] = {}
    for part in parts:
        for name, about in part["engines"].items():
            for told in about["metrics"].values():
                told.pop("common", None)
            engines[name] = about
    compared = [name for name, about in engines.items() if not about["control"]]
    top = {**parts[0], "pairs": None, "common_pairs": 0, "compared": compared}
    return {**top, "engines": engines, "notes": notes}, False


def run_names(directories: Sequence[Path]) -> list[str]:
    """The directories' last names, or as they were given where those are the same; numbered where those are, too."""
    for names in ([d.resolve().name for d in directories], [str(d) for d in directories]):
        if len(set(names)) == len(names):
            return names
    return [f"{number} {directory}" for number, directory in enumerate(directories, start=1)]


def changes(now: Mapping[str, Answers], before: Mapping[str, Answers]) -> dict[tuple[str, str], Estimate | None]:
    """By engine and metric, how the same pairs changed: over pairs valid in both, validity and cost over all."""
    result: dict[tuple[str, str], Estimate | None] = {}
    for name, answers in now.items():
        if name not in before:
            continue
        both = answers.valid & before[name].valid
        for metric in PER_PAIR:
            rows = slice(None) if metric in OF_ALL or answers.control else both
            here, there = answers.columns[metric][rows], before[name].columns[metric][rows]
            result[name, metric] = paired_difference(here, there)
    return result


def read_baseline(directory: Path) -> Finished:
    """A run to compare with.

    Raises:
        UsageError: as `read_finished`, with the option's name.
    """
    try:
        return read_finished(directory)
    except UsageError as error:
        raise UsageError(f"--baseline {error}") from error


def check_questions(baseline: Finished, pairs: Sequence[Pair]) -> None:
    """Raises UsageError unless the baseline asks these very questions."""
    if baseline.questions != questions(pairs):
        raise UsageError(
            f"--baseline {baseline.run.directory}: asks other questions, so nothing can be paired; "
            "repeat its --images, -n, --targets and --seed (they are in its manifest.json)"
        )
