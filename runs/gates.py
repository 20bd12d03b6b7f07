"""Gates: conditions that a run must meet for its command to exit with 0.

    ENGINE.METRIC[.median|.p95] OPERATOR NUMBER        latent.validity>=0.99, vcnet.im1.median<0.5
    ENGINE.METRIC OPERATOR baseline[+NUMBER|-NUMBER]   latent.judge_agrees>=baseline-0.02

`baseline` means the mean of an earlier run on the same questions; the number is a tolerance. Such a gate looks at the
paired difference and its 95 % interval: `>=` and `<=` fail if the metric is surely worse, which is if the whole
interval lies on the wrong side of the tolerance; `>` and `<` pass only if it is surely better.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..documents import Table
from ..errors import UsageError, unknown_name
from ..metrics.catalogue import BY_NAME

Statistic = Literal["mean", "median", "p95"]
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
FORM = re.compile(r"\s*([\w-]+)\.(\w+?)(?:\.(median|p95))?\s*(>=|<=|>|<)\s*([^=\s]\S*)\s*")
LIMIT = re.compile(NUMBER, re.ASCII | re.IGNORECASE)
BASELINE = re.compile(rf"baseline([+-]{NUMBER.removeprefix('[+-]?')})?", re.ASCII | re.IGNORECASE)
EXAMPLE = "expected ENGINE.METRIC>=NUMBER, such as 'latent.validity>=0.99'"


@dataclass(frozen=True)
class Gate:
    """One condition.

    Attributes:
        text: the gate as it was typed.
        engine, metric: what is measured.
        statistic: what is compared: the mean, the median or the 95th percentile.
        sign: ">=", "<=", ">" or "<".
        limit: the number to compare with; for a baseline, the tolerance, which is added to it.
        baseline: whether `limit` is relative to an earlier run.
    """

    text: str
    engine: str
    metric: str
    statistic: Statistic
    sign: str
    limit: float
    baseline: bool = False

    @property
    def name(self) -> str:
        """The gate in one normal form, in which equal gates are equal."""
        statistic = "" if self.statistic == "mean" else f".{self.statistic}"
        limit = f"{self.limit:.12g}"
        if self.baseline:
            limit = f"baseline{self.limit:+.12g}" if self.limit else "baseline"
        return f"{self.engine}.{self.metric}{statistic}{self.sign}{limit}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a gate.

    Attributes:
        gate: the gate in its normal form.
        engine: the engine that was measured.
        passed: whether the condition is met.
        measured: the figure, or its change against the baseline; None if it has no value, and the gate has failed.
        pairs: number of questions that the figure is computed over.
        says: a sentence for the user.
    """

    gate: str
    engine: str
    passed: bool
    measured: float | None
    pairs: int
    says: str

    @classmethod
    def from_json(cls, table: Table) -> Outcome:
        """The inverse of `vars`."""
        return cls(
            gate=table.need("gate", str),
            engine=table.need("engine", str),
            passed=table.need("passed", bool),
            measured=table.get("measured", float),
            pairs=table.need("pairs", int),
            says=table.need("says", str),
        )


def parse_gate(text: str, *, baseline: bool) -> Gate:
    """Parse a gate. The engine's name is checked later, by `check_engines`.

    Args:
        text: the gate as on the command line.
        baseline: whether an earlier run is given.

    Raises:
        UsageError: the text cannot be parsed, names an unknown metric, or can never be met.
    """
    where = f"--fail-under {text!r}"
    match = FORM.fullmatch(text)
    if match is None:
        raise UsageError(f"{where}: cannot be parsed; {EXAMPLE}")
    engine, metric, wanted, sign, limit = match.groups()
    statistic: Statistic = wanted if wanted == "median" or wanted == "p95" else "mean"
    if metric not in BY_NAME:
        raise UsageError(f"{where}: {unknown_name('metric', metric, BY_NAME)}")
    of_set = BY_NAME[metric].of_set
    if wanted and of_set:
        raise UsageError(f"{where}: {metric} has one value for all images, and so no {wanted}")
    relative = BASELINE.fullmatch(limit)
    if relative is not None:
        if not baseline:
            raise UsageError(f"{where}: there is no baseline; name an earlier run with --baseline")
        if wanted or of_set:
            raise UsageError(f"{where}: only a mean over images can be compared with a baseline")
        return Gate(text, engine, metric, "mean", sign, float(relative[1] or 0), baseline=True)
    if LIMIT.fullmatch(limit) is None:
        raise UsageError(f"{where}: {limit!r} is not a number; {EXAMPLE}")
    number = float(limit)
    if number - number != 0:
        raise UsageError(f"{where}: {limit} is not a finite number; {EXAMPLE}")
    if BY_NAME[metric].kind == "share" and not 0 <= number <= 1:
        raise UsageError(f"{where}: {metric} lies between 0 and 1, so {limit} means nothing; write 0.99 for 99 %")
    return Gate(text, engine, metric, statistic, sign, number)


def check_engines(gates: Iterable[Gate], engines: Sequence[str], baseline: Sequence[str] | None = None) -> None:
    """Raise a UsageError if a gate names an engine that the run, or the earlier run, does not have.

    Args:
        gates: the gates.
        engines: names of the run's engines.
        baseline: names of the earlier run's engines; None if there is no earlier run.
    """
    for gate in gates:
        if gate.engine not in engines:
            raise UsageError(f"--fail-under {gate.text!r}: {unknown_name('engine', gate.engine, engines)}")
        if gate.baseline and baseline is not None and gate.engine not in baseline:
            known = ", ".join(baseline)
            raise UsageError(f"--fail-under {gate.text!r}: the baseline has {known}, but not {gate.engine}")
