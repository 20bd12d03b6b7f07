"""Compares finished runs, using the files in their directories. Nothing is searched again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..answers.question import Question
from ..errors import DataError, UsageError, unknown_name
from ..intervals import Estimate, paired_difference
from ..metrics.catalogue import METRICS
from ..reports.summary import EngineSummary, Summary
from ..runs.directory import RECORDS
from ..runs.identity import differences
from .run import Run
from .summary import OF_ALL, OF_BATCH, PER_PAIR, Columns, gather, summarise

SETS = tuple(metric.name for metric in METRICS if metric.of_set)


@dataclass(frozen=True)
class Finished:
    """A finished run: its questions and answers, its summary, and every value by engine."""

    run: Run
    summary: Summary
    columns: dict[str, Columns]


def same_questions(one: Sequence[Question], other: Sequence[Question]) -> bool:
    """Whether two runs ask the same questions: about the same pixels, whatever the files' names, with the same targets.

    Runs that do not store the pixels' digests are compared by the images' names.
    """
    by_content = all(question.sha256 for question in (*one, *other))

    def asked(questions: Sequence[Question]) -> list[tuple[str | None, str]]:
        return [(each.sha256 if by_content else each.source.name, each.target) for each in questions]

    return asked(one) == asked(other)


def all_ask_the_same(runs: Sequence[Finished]) -> bool:
    """Whether all of some runs ask the same questions."""
    return all(same_questions(run.run.questions, runs[0].run.questions) for run in runs)


NOT_COMPARED = ("count", "images", "targets", "engines")
"""Entries of a run's config that equal questions make irrelevant, or that the tables show."""


def other_differences(first: Run, second: Run) -> list[str]:
    """What differs between two runs on the same questions, such as the versions, a sentence each."""
    sides = (f"in {first.path}", f"in {second.path}")
    before, now = (
        {key: value for key, value in run.manifest.config.items() if key not in NOT_COMPARED} for run in (first, second)
    )
    found = differences(before, now, sides=sides)
    shared = first.engines.keys() & second.engines.keys()
    for engine in sorted(shared):
        found += differences(first.engines[engine], second.engines[engine], f"{engine}.", sides)
    return found


def read_finished(directory: Path) -> Finished:
    """Read a finished run.

    Raises:
        UsageError: there is no run, or it is not finished.
        DataError: the run is damaged, or answers are missing.
    """
    run, summary = Run.load(directory), Summary.read(directory)
    missing = run.missing(summary.engines)
    if missing is not None:
        raise DataError(
            f"{directory}: {RECORDS} is not complete ({missing} answers); resume the run with the command in its "
            "manifest.json"
        )
    return finished(run, summary)


def finished(run: Run, summary: Summary) -> Finished:
    """Collect the values of a run that has a summary."""
    controls = {name: engine.control for name, engine in summary.engines.items()}
    columns = gather(run.answers, len(run.questions), controls, run.failed)
    for name, engine in summary.engines.items():
        columns[name].pool = engine.pool
        for metric in SETS:
            for figure in engine.metrics.get(metric, {}).values():
                columns[name].sets[metric] = figure and figure.mean
    return Finished(run, summary, columns)


def side_by_side(runs: Sequence[Finished]) -> tuple[Summary, bool]:
    """Summarise the engines of several runs together.

    If two runs have the same engine, its names get the name of their run as a prefix. If all runs ask the same
    questions, the common pairs are those that all engines of all runs solved; otherwise there are none.

    Returns:
        The summary, and whether all runs ask the same questions.
    """
    first = runs[0]
    same = all_ask_the_same(runs)
    notes: list[str] = []
    if len({run.summary.bundle.digest for run in runs}) > 1:
        notes.append("the runs explain different models (their bundle digests differ), which may cause the differences")
    for run in runs[1:]:
        notes += other_differences(first.run, run.run)
    merged = merge(runs)
    for run in runs:
        notes += [note for note in run.summary.notes if note not in notes]
    if same:
        return summarise(merged, bundle=first.summary.bundle, notes=notes), True
    notes.append("the runs ask different questions: there are no common pairs, only each engine's own figures")
    engines: dict[str, EngineSummary] = {}
    for label, columns in merged.items():
        engines[label] = without_common(summarise({label: columns}, bundle=first.summary.bundle).engines[label])
    return Summary(
        bundle=first.summary.bundle,
        pairs=None,
        common_pairs=0,
        compared=tuple(name for name, engine in engines.items() if not engine.control),
        engines=engines,
        notes=tuple(notes),
    ), False


def merge(runs: Sequence[Finished]) -> dict[str, Columns]:
    """The values of all engines of several runs, by the engines' names in `side_by_side`."""
    labels = run_names([run.run.path for run in runs])
    taken = [name for run in runs for name in run.columns]
    return {
        f"{label}: {name}" if taken.count(name) > 1 else name: columns
        for label, run in zip(labels, runs, strict=True)
        for name, columns in run.columns.items()
    }


def without_common(engine: EngineSummary) -> EngineSummary:
    """An engine without its figures over common pairs."""
    metrics = {
        name: {basis: figure for basis, figure in figures.items() if basis != "common"}
        for name, figures in engine.metrics.items()
    }
    return replace(engine, metrics=metrics)


def run_names(directories: Sequence[Path]) -> list[str]:
    """Unique names for runs: the directories' last names; else the paths as they were typed; else numbered paths."""
    for names in ([d.resolve().name for d in directories], [str(d) for d in directories]):
        if len(set(names)) == len(names):
            return names
    return [f"{number} {directory}" for number, directory in enumerate(directories, start=1)]


def changes(now: Mapping[str, Columns], before: Mapping[str, Columns]) -> dict[tuple[str, str], Estimate | None]:
    """Paired differences by engine and metric, over the pairs that are valid in both; validity and cost over all."""
    result: dict[tuple[str, str], Estimate | None] = {}
    for name, columns in now.items():
        if name not in before:
            continue
        both = columns.valid & before[name].valid
        for metric in PER_PAIR:
            rows = slice(None) if metric in OF_ALL or columns.control else both
            here, there = columns.values[metric][rows], before[name].values[metric][rows]
            result[name, metric] = paired_difference(here, there)
    return result


def changes_against(runs: Sequence[Finished], engine: str) -> dict[tuple[str, str], Estimate | None]:
    """Paired differences of all other engines of some runs on the same questions from one of them, as `changes`.

    Args:
        runs: the runs.
        engine: its name in `side_by_side`.

    Raises:
        UsageError: no run has this engine, or the runs ask different questions.
    """
    merged = merge(runs)
    if engine not in merged:
        raise UsageError(f"--against {engine}: {unknown_name('engine', engine, [*merged])}")
    if not all_ask_the_same(runs):
        raise UsageError(f"--against {engine}: the runs ask different questions; compare runs with the same ones")
    reference = merged.pop(engine)
    if not merged:
        raise UsageError(f"--against {engine}: there is no other engine; name more runs, or a run of several engines")
    found = changes(merged, dict.fromkeys(merged, reference))
    return {  # a value that is shared out among the images of a batch says nothing of its spread
        (name, metric): replace(each, low=None, high=None) if each is not None and metric in OF_BATCH else each
        for (name, metric), each in found.items()
    }


def as_tables(found: Mapping[tuple[str, str], Estimate | None]) -> dict[str, dict[str, object]]:
    """Paired differences as JSON: by engine and metric, mean, low and high; null where there is nothing to compare."""
    tables: dict[str, dict[str, object]] = {}
    for (name, metric), each in found.items():
        row = None if each is None else {"mean": each.mean, "low": each.low, "high": each.high, "count": each.count}
        tables.setdefault(name, {})[metric] = row
    return tables


def read_baseline(directory: Path) -> Finished:
    """Read the run that --baseline names.

    Raises:
        UsageError: as `read_finished`, with the option's name.
    """
    try:
        return read_finished(directory)
    except UsageError as error:
        raise UsageError(f"--baseline {error}") from error


def check_questions(baseline: Finished, questions: Sequence[Question]) -> None:
    """Raise a UsageError unless the baseline asks the same questions."""
    if not same_questions(baseline.run.questions, questions):
        raise UsageError(
            f"--baseline {baseline.run.path}: asks other questions, so the runs cannot be compared pair by pair; "
            "use its images, -n, --targets and --seed, which are in its manifest.json"
        )
