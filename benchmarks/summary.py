"""What a run amounts to: means with intervals, over the pairs for which they mean something.

Three bases, and every figure says which is its own: `all` pairs (validity and cost), an engine's own `valid` ones, and
the `common` ones that all compared engines solved. An engine that solves only the easy pairs looks good on its own
valid ones (survivor bias); only the common ones compare. Controls answer what they answer: their figures are over all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from ..files import write_text
from ..intervals import Estimate, estimates
from ..metrics.catalogue import BY_NAME, METRICS, Group
from .records import Record
from .run import SUMMARY

SCHEMA = 1
BASES = ("all", "valid", "common")
PER_PAIR = tuple(metric.name for metric in METRICS if not metric.of_set)
SHARES = {metric.name for metric in METRICS if metric.kind == "share"}
YES_OR_NO = {metric.name for metric in METRICS if metric.yes_or_no}
OF_BATCH = {metric.name for metric in METRICS if metric.of_batch}
OF_ALL = {"validity"} | {metric.name for metric in METRICS if metric.group is Group.COST}
"""Metrics of every pair, solved or not."""


@dataclass
class Answers:
    """All of one engine's values.

    Attributes:
        control: whether it is a control.
        columns: metric -> (N,) by pair, NaN where it could not be had.
        sets: values of all counterfactuals together, by metric.
    """

    control: bool
    columns: dict[str, np.ndarray]
    sets: dict[str, float | None]

    @property
    def valid(self) -> np.ndarray:
        """(N,) bool."""
        return self.columns["validity"] == 1


def gather(records: Iterable[Record], pairs: int, is_control: Mapping[str, bool]) -> dict[str, Answers]:
    """Records as columns by engine, in the order of `is_control`."""
    result = {
        name: Answers(control, {metric: np.full(pairs, np.nan) for metric in PER_PAIR}, {})
        for name, control in is_control.items()
    }
    peaks: dict[str, float] = {}
    for record in records:
        if record.engine not in result:
            continue
        for metric, column in result[record.engine].columns.items():
            value = record.value(metric)
            if value is not None:
                column[record.pair] = value
        highest = record.value("peak_memory_mb")
        if highest is not None:
            peaks[record.engine] = max(highest, peaks.get(record.engine, 0.0))
    for name, answers in result.items():
        seconds = answers.columns["seconds"]
        taken = float(np.nansum(seconds))
        answers.sets["images_per_second"] = float((~np.isnan(seconds)).sum()) / taken if taken else None
        answers.sets["peak_memory_mb"] = peaks.get(name)
    return result


def common(answers: Mapping[str, Answers]) -> np.ndarray:
    """(N,) bool: which pairs all compared engines solved; controls have no say unless there is nothing else."""
    compared = [a.valid for a in answers.values() if not a.control] or [a.valid for a in answers.values()]
    return np.logical_and.reduce(compared)


def summarise(
    answers: Mapping[str, Answers], *, bundle: Mapping[str, Any], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """The documented summary (docs/run.md), as JSON can hold it."""
    shared = common(answers)
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "bundle": dict(bundle),
        "pairs": len(shared),
        "common_pairs": int(shared.sum()),
        "compared": [name for name, a in answers.items() if not a.control],
        "engines": {name: describe(a, shared) for name, a in answers.items()},
    }
    empty = [n for n, a in answers.items() if not a.control and not a.valid.any()]
    said = [f"{name} solved no pair, so there are no common ones" for name in empty]
    return result | {"notes": list(dict.fromkeys([*notes, *said]))}


def describe(answers: Answers, shared: np.ndarray) -> dict[str, Any]:
    """One engine of a summary."""
    everything = np.ones_like(shared)
    rows = {"all": everything, "valid": answers.valid, "common": shared & answers.valid}
    found: dict[str, dict[str, Estimate | None]] = {}
    for basis, chosen in rows.items():
        wanted = OF_ALL if basis == "all" and not answers.control else set(PER_PAIR)
        if basis != "all":
            wanted = set() if answers.control else wanted - OF_ALL
        columns = {name: answers.columns[name][chosen] for name in PER_PAIR if name in wanted}
        told = estimates(columns, YES_OR_NO, SHARES) if chosen.any() else dict.fromkeys(columns)
        for name, estimate in told.items():
            if estimate is not None and name in OF_BATCH:
                estimate = replace(estimate, low=None, high=None)
            found.setdefault(name, {})[basis] = estimate
    count = int(answers.valid.sum())
    for name, value in answers.sets.items():
        over = "all" if name in OF_ALL or answers.control else "valid"
        size = len(shared) if over == "all" else count
        found[name] = {over: None if value is None else Estimate(value, None, None, None, size)}
    metrics = {
        metric.name: {basis: e and asdict(e) for basis, e in found[metric.name].items()}
        for metric in METRICS
        if metric.name in found
    }
    return {"control": answers.control, "pairs": len(shared), "valid": count, "metrics": metrics}


def write_summary(directory: Path, summary: Mapping[str, Any]) -> None:
    """Write summary.json."""
    write_text(directory / SUMMARY, json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_summary(directory: Path) -> dict[str, Any]:
    """A finished run's summary.

    Raises:
        UsageError: the run is not finished.
        DataError: the file is damaged.
    """
    path = directory / SUMMARY
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"{directory}: the run is not finished (no {SUMMARY}); the command in its manifest.json goes on with it"
        ) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: damaged ({error}); remove it and run the command of manifest.json again") from error
    if not isinstance(summary, dict) or summary.get("schema") != SCHEMA:
        raise DataError(f"{path}: not a summary of schema {SCHEMA}; remove it and run the command again")
    return summary


def basis_of(metrics: Mapping[str, Any], name: str, wanted: str) -> str | None:
    """The basis on which a metric is to be read: `wanted` where it is told on it, else the one that it has."""
    told = metrics.get(name, {})
    if wanted in told:
        return wanted
    return next((basis for basis in BASES if basis in told), None)


def estimate(summary: Mapping[str, Any], engine: str, name: str, basis: str = "valid") -> dict[str, Any] | None:
    """One figure of a summary, with its interval; None where it could not be had."""
    metrics = summary["engines"][engine]["metrics"]
    found = basis_of(metrics, name, basis)
    return metrics[name][found] if found else None


def best(summary: Mapping[str, Any], name: str, basis: str) -> set[str]:
    """The engines with the best mean of a metric, controls apart; none where there is nothing to compare."""
    better = BY_NAME[name].better
    means = {}
    for engine, about in summary["engines"].items():
        found = estimate(summary, engine, name, basis)
        if found is not None and not about["control"]:
            means[engine] = BY_NAME[name].shown(found["mean"]), found["mean"]
    if better is None or len(means) < 2:
        return set()
    choose = max if better == "higher" else min
    top = choose(means.values(), key=lambda shown: shown[1])[0]
    winners = {engine for engine, (shown, _) in means.items() if shown == top}  # what is printed alike is alike
    return set() if len(winners) == len(means) else winners
