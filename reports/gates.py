"""Gates: conditions that a run must meet for its command to exit with 0.

    ENGINE.METRIC[.median] OPERATOR NUMBER        latent.validity>=0.99, vcnet.im1.median<0.5
    ENGINE.METRIC OPERATOR baseline               latent.judge_agrees>=baseline

`baseline` means the mean of an earlier run on the same questions. Such a gate fails if the metric is worse and the
paired 95 % interval of the difference excludes zero.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ..errors import UsageError, unknown_name
from ..files import write_bytes
from ..metrics.catalogue import BY_NAME

if TYPE_CHECKING:  # gates are parsed before numpy and torch are imported
    from ..intervals import Estimate
    from .summary import Summary

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
FORM = re.compile(r"\s*([\w-]+)\.(\w+?)(\.median)?\s*(>=|<=|>|<)\s*([^=\s]\S*)\s*")
EXAMPLE = "expected ENGINE.METRIC>=NUMBER, such as 'latent.validity>=0.99'"


@dataclass(frozen=True)
class Gate:
    """One condition.

    Attributes:
        text: the gate as it was typed.
        engine, metric: what is measured.
        median: compare the median instead of the mean.
        sign: one of `OPERATORS`.
        limit: the number to compare with; None for the baseline.
    """

    text: str
    engine: str
    metric: str
    median: bool
    sign: str
    limit: float | None


@dataclass(frozen=True)
class Outcome:
    """The outcome of a gate. `measured` is None if the metric has no value; then the gate has failed."""

    gate: Gate
    passed: bool
    measured: float | None
    says: str


def parse_gate(text: str, *, baseline: bool) -> Gate:
    """Parse a gate. The engine's name is checked later, by `check_engines`.

    Args:
        text: the gate as on the command line.
        baseline: whether an earlier run is given.

    Raises:
        UsageError: the text cannot be parsed, or names an unknown metric.
    """
    match = FORM.fullmatch(text)
    if match is None:
        raise UsageError(f"--fail-under {text!r}: cannot be parsed; {EXAMPLE}")
    engine, metric, median, sign, limit = match.groups()
    if metric not in BY_NAME:
        raise UsageError(f"--fail-under {text!r}: {unknown_name('metric', metric, BY_NAME)}")
    of_set = BY_NAME[metric].of_set
    if median and of_set:
        raise UsageError(f"--fail-under {text!r}: {metric} has one value for all images, and so no median")
    if limit != "baseline":
        try:
            number = float(limit)
        except ValueError:
            raise UsageError(f"--fail-under {text!r}: {limit!r} is not a number; {EXAMPLE}") from None
        if number - number != 0:
            raise UsageError(f"--fail-under {text!r}: {limit} is not a finite number; {EXAMPLE}")
        return Gate(text, engine, metric, bool(median), sign, number)
    if not baseline:
        raise UsageError(f"--fail-under {text!r}: there is no baseline; name an earlier run with --baseline")
    if median or of_set:
        raise UsageError(f"--fail-under {text!r}: only a mean over images can be compared with a baseline")
    return Gate(text, engine, metric, False, sign, None)


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
        if gate.limit is None and baseline is not None and gate.engine not in baseline:
            known = ", ".join(baseline)
            raise UsageError(f"--fail-under {gate.text!r}: the baseline has {known}, but not {gate.engine}")


def check_gate(gate: Gate, summary: Summary, changes: Mapping[tuple[str, str], Estimate | None]) -> Outcome:
    """Check a gate.

    Args:
        gate: the gate.
        summary: summary of the run. Means are over an engine's valid answers; validity and cost are over all answers.
        changes: paired difference to the baseline by engine and metric.
    """
    shown = BY_NAME[gate.metric].shown
    if gate.limit is None:
        change = changes.get((gate.engine, gate.metric))
        if change is None or change.low is None or change.high is None:
            return Outcome(gate, False, None, f"{gate.text}: failed, there is nothing to compare")
        worse = change.high < 0 if gate.sign.startswith(">") else change.low > 0
        says = f"changed by {change.mean:+.4g} [{change.low:+.4g}, {change.high:+.4g}] on {change.count} pairs"
        return Outcome(gate, not worse, change.mean, f"{gate.text}: {'failed' if worse else 'passed'}, {says}")
    found = summary.engines[gate.engine].estimate(gate.metric)
    value = None if found is None else found.median if gate.median else found.mean
    if value is None:
        return Outcome(gate, False, None, f"{gate.text}: failed, {gate.metric} has no value (n/a)")
    passed = OPERATORS[gate.sign](value, gate.limit)
    says = f"{gate.text}: {'passed' if passed else 'failed'}, measured {value:.6g}"
    return Outcome(gate, passed, value, says if BY_NAME[gate.metric].kind == "number" else f"{says} ({shown(value)})")


def write_junit(path: Path, outcomes: Sequence[Outcome], name: str) -> None:
    """Write the gates as a JUnit report for CI dashboards, one test case per gate.

    Raises:
        OutputError: the file could not be written.
    """
    failed = sum(not outcome.passed for outcome in outcomes)
    suite = ElementTree.Element("testsuite", name=name, tests=str(len(outcomes)), failures=str(failed), errors="0")
    for outcome in outcomes:
        gate = outcome.gate
        case = ElementTree.SubElement(suite, "testcase", classname=f"cfx.bench.{gate.engine}", name=gate.text)
        if outcome.passed:
            ElementTree.SubElement(case, "system-out").text = outcome.says
        else:
            ElementTree.SubElement(case, "failure", message=outcome.says).text = outcome.says
    root = ElementTree.Element("testsuites", tests=str(len(outcomes)), failures=str(failed))
    root.append(suite)
    ElementTree.indent(root)
    write_bytes(path, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")
