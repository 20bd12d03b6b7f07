"""Summarises a run: means with intervals, each over the questions for which it is meaningful.

An engine that solves only easy questions looks good on its own valid ones (survivor bias), so engines are compared on
the questions that all of them solved. Figures of controls are over all questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..answers.answer import Answer
from ..answers.loop import Failed
from ..intervals import Estimate, estimates
from ..metrics.catalogue import METRICS, Group
from ..reports.summary import Basis, BundleName, EngineSummary, Summary, in_order

PER_PAIR = tuple(metric.name for metric in METRICS if not metric.of_set)
SHARES = {metric.name for metric in METRICS if metric.kind == "share"}
YES_OR_NO = {metric.name for metric in METRICS if metric.yes_or_no}
ON_REQUEST = {metric.name for metric in METRICS if metric.on_request}
OF_BATCH = {metric.name for metric in METRICS if metric.of_batch}
OF_ALL = {"validity"} | {metric.name for metric in METRICS if metric.group is Group.COST}
"""Metrics that are computed over all questions, solved or not."""


@dataclass
class Columns:
    """All values of one engine.

    Attributes:
        control: whether the engine is a control.
        values: for each metric of single images, (N,) one value per question; NaN if it has no value.
        sets: for each metric of sets, its value over all counterfactuals; None if it has no value.
        pool: number of real images that a control chooses from; None if it does not.
    """

    control: bool
    values: dict[str, np.ndarray]
    sets: dict[str, float | None]
    pool: int | None = None

    @property
    def answered(self) -> np.ndarray:
        """Whether each question has an answer, valid or not, (N,) bool."""
        return ~np.isnan(self.values["confidence"])

    @property
    def valid(self) -> np.ndarray:
        """Whether each question has a valid answer, (N,) bool."""
        return self.values["validity"] == 1


def gather(
    answers: Iterable[Answer], questions: int, is_control: Mapping[str, bool], failed: Iterable[Failed] = ()
) -> dict[str, Columns]:
    """Collect answers into columns by engine, in the order of `is_control`; a question that failed is not valid."""
    result = {
        name: Columns(control, {metric: np.full(questions, np.nan) for metric in PER_PAIR}, {})
        for name, control in is_control.items()
    }
    peaks: dict[str, float] = {}
    for answer in answers:
        if answer.engine not in result or answer.place > 1:  # figures are those of the first answers
            continue
        for metric, column in result[answer.engine].values.items():
            value = answer.value(metric)
            if value is not None:
                column[answer.question.number] = value
        highest = answer.cost.peak_memory_mb
        if highest is not None:
            peaks[answer.engine] = max(highest, peaks.get(answer.engine, 0.0))
    for each in failed:
        if each.engine in result and each.question.number is not None:
            result[each.engine].values["validity"][each.question.number] = 0.0
    for name, columns in result.items():
        seconds = columns.values["seconds"]
        taken = float(np.nansum(seconds))
        columns.sets["images_per_second"] = float((~np.isnan(seconds)).sum()) / taken if taken else None
        columns.sets["peak_memory_mb"] = peaks.get(name)
    return result


def common(columns: Mapping[str, Columns]) -> np.ndarray:
    """Which questions all compared engines solved, (N,) bool.

    Controls count only if there are no other engines, and those that choose from a pool, which every run has, not then.
    """
    compared = [each.valid for each in columns.values() if not each.control]
    without_pool = [each.valid for each in columns.values() if each.pool is None]
    return np.logical_and.reduce(compared or without_pool or [each.valid for each in columns.values()])


def summarise(columns: Mapping[str, Columns], *, bundle: BundleName, notes: Sequence[str] = ()) -> Summary:
    """Summarise the engines of a run."""
    shared = common(columns)
    empty = [name for name, each in columns.items() if not each.control and not each.valid.any()]
    unsolved = [f"{name} solved no pair, so there are no common pairs" for name in empty]
    return Summary(
        bundle=bundle,
        pairs=len(shared),
        common_pairs=int(shared.sum()),
        compared=tuple(name for name, each in columns.items() if not each.control),
        engines={name: describe(each, shared) for name, each in columns.items()},
        notes=tuple(dict.fromkeys([*notes, *unsolved])),
    )


def describe(columns: Columns, shared: np.ndarray) -> EngineSummary:
    """Summarise one engine; `shared` (N,) bool are the questions that all compared engines solved."""
    rows: dict[Basis, np.ndarray] = {
        "all": np.ones_like(shared),
        "valid": columns.valid,
        "common": shared & columns.valid,
    }
    found: dict[str, dict[Basis, Estimate | None]] = {}
    metrics = [name for name in PER_PAIR if name not in ON_REQUEST or not np.isnan(columns.values[name]).all()]
    for basis, chosen in rows.items():
        wanted = {name: columns.values[name][chosen] for name in metrics if name in metrics_on(basis, columns.control)}
        figures = estimates(wanted, YES_OR_NO, SHARES) if chosen.any() else dict.fromkeys(wanted)
        for name, estimate in figures.items():
            if estimate is not None and name in OF_BATCH:
                estimate = replace(estimate, low=None, high=None)
            found.setdefault(name, {})[basis] = estimate
    count = int(columns.valid.sum())
    for name, value in columns.sets.items():
        of_all = name in OF_ALL or columns.control
        size = len(shared) if of_all else count
        found[name] = {"all" if of_all else "valid": None if value is None else Estimate(value, None, None, None, size)}
    return EngineSummary(
        control=columns.control, pairs=len(shared), valid=count, metrics=in_order(found), pool=columns.pool
    )


def metrics_on(basis: Basis, control: bool) -> set[str]:
    """The metrics of single images that are computed over a basis."""
    if control:
        return set(PER_PAIR) if basis == "all" else set()
    return set(OF_ALL) if basis == "all" else set(PER_PAIR) - OF_ALL
