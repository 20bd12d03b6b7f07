"""Means with 95 % confidence intervals: Wilson's for proportions, the bootstrap's for everything else."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RESAMPLES = 2000
RESAMPLES_PER_BATCH = 200  # resamples in memory at a time, which keeps the counts of 10,000 pairs small
SEED = 0
NORMAL = 1.959964  # the standard normal's 97.5 % quantile


@dataclass(frozen=True)
class Estimate:
    """A mean over pairs, with the median and the 95th percentile of the values.

    The interval is None for a single value, whose variance is unknown.
    """

    mean: float
    low: float | None
    high: float | None
    median: float | None
    count: int
    p95: float | None = None


def wilson(successes: float, count: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927).

    Unlike the bootstrap's interval, it is not [1, 1] for a thousand successes in a thousand trials.
    """
    share, square = successes / count, NORMAL**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL / (1 + square / count) * (share * (1 - share) / count + square / (4 * count**2)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


@lru_cache(maxsize=2)  # sampling takes longer than the sums; engines that solve the same number of pairs share it
def resamples(count: int) -> np.ndarray:
    """How often each of `count` rows is sampled in each resample, (RESAMPLES, count) uint8."""
    generator = np.random.default_rng(SEED)
    resampled = (generator.integers(count, size=count) for _ in range(RESAMPLES))
    return np.stack([np.bincount(rows, minlength=count).astype(np.uint8) for rows in resampled])


def bootstrap(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile intervals of the means of columns (N, M), ignoring NaNs: low (M,), high (M,).

    All columns use the same resamples of the rows (Efron and Tibshirani 1993, chapter 13).
    """
    there = ~np.isnan(values)
    filled, there = np.where(there, values, 0.0), there.astype(float)
    means = []
    for chunk in np.split(resamples(len(values)), RESAMPLES // RESAMPLES_PER_BATCH):
        counts = chunk.astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            means.append((counts @ filled) / (counts @ there))
    low, high = np.nanquantile(np.concatenate(means), (0.025, 0.975), axis=0)
    return low, high


def estimates(
    columns: dict[str, np.ndarray], yes_or_no: Set[str] = frozenset(), shares: Set[str] = frozenset()
) -> dict[str, Estimate | None]:
    """The mean of each column (N,), ignoring NaNs; None for a column of NaNs.

    Args:
        columns: values by name.
        yes_or_no: columns of zeros and ones, which get Wilson's interval.
        shares: columns in [0, 1], which get Wilson's interval if all their values are equal.
    """
    result: dict[str, Estimate | None] = {}
    present = {name: values for name, values in columns.items() if not np.isnan(values).all()}
    resampled = [name for name in present if name not in yes_or_no]
    intervals: dict[str, tuple[float, float]] = {}
    if resampled:
        low, high = bootstrap(np.stack([present[name] for name in resampled], axis=1))
        intervals = {name: (float(low[i]), float(high[i])) for i, name in enumerate(resampled)}
    for name in columns:
        if name not in present:
            result[name] = None
            continue
        values = present[name][~np.isnan(present[name])]
        low, high = intervals.get(name, (0.0, 0.0))
        if name in yes_or_no or (name in shares and low == high):
            low, high = wilson(float(values.sum()), len(values))
        if len(values) < 2:
            low = high = None
        median, p95 = (float(value) for value in np.quantile(values, (0.5, 0.95)))
        result[name] = Estimate(float(values.mean()), low, high, median, len(values), p95)
    return result


def paired_difference(now: np.ndarray, before: np.ndarray) -> Estimate | None:
    """The mean of now - before over the pairs that have both, with its bootstrap interval; None if no pair has both."""
    difference = now - before
    difference = difference[~np.isnan(difference)]
    if not len(difference):
        return None
    return estimates({"difference": difference})["difference"]
