"""Checks gates against the figures of a run."""

from __future__ import annotations

import operator
from collections.abc import Mapping

from ..intervals import Estimate
from .gates import Gate, Outcome, Vocabulary

COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


Figures = Mapping[str, Mapping[str, Estimate | None]]
"""By subject and measure, a figure; None if it has no value."""


Changes = Mapping[tuple[str, str], Estimate | None]
"""By subject and measure, the paired difference to an earlier run; None if there is nothing to compare."""


def check_gate(gate: Gate, vocabulary: Vocabulary, figures: Figures, changes: Changes, *, least: int = 1) -> Outcome:
    """Check a gate.

    Args:
        gate: the gate.
        vocabulary: of the command.
        figures: of the run.
        changes: against the baseline.
        least: the gate fails if its figure is computed over fewer.
    """
    if gate.baseline:
        figure = changes.get((gate.subject, gate.measure))
        passed, measured, says = _against_baseline(gate, vocabulary, figure)
    else:
        figure = figures.get(gate.subject, {}).get(gate.measure)
        passed, measured, says = _against_number(gate, vocabulary, figure)
    count = 0 if figure is None else figure.count
    if measured is not None and count < least:
        passed, says = False, f"{says}, but on {count} {vocabulary.counted} only ({vocabulary.least} {least})"
    outcome = "passed" if passed else "failed"
    return Outcome(
        gate=gate.name,
        subject=gate.subject,
        passed=passed,
        measured=measured,
        count=count,
        says=f"{gate.text}: {outcome}, {says}",
    )


def _against_number(gate: Gate, vocabulary: Vocabulary, figure: Estimate | None) -> tuple[bool, float | None, str]:
    value = None if figure is None else getattr(figure, gate.statistic)
    if figure is None or value is None:
        return False, None, f"{gate.measure} has no value (n/a)"
    measure = vocabulary.measures[gate.measure]
    spread = [("mean", figure.mean), ("median", figure.median), ("p95", figure.p95)]
    others = [
        f"{name} {measure.shown(other)}"
        for name, other in spread
        if name != gate.statistic and other is not None and not measure.yes_or_no
    ]
    shown = f" ({measure.shown(value)})" if measure.kind == "share" else ""
    on = f" on {figure.count} {vocabulary.counted}"
    says = f"measured {value:.6g}{shown}{on}" + (f"; {', '.join(others)}" if others else "")
    return COMPARE[gate.sign](value, gate.limit), value, says


def _against_baseline(gate: Gate, vocabulary: Vocabulary, change: Estimate | None) -> tuple[bool, float | None, str]:
    if change is None or change.low is None or change.high is None:
        return False, None, "there is nothing to compare"
    says = (
        f"changed by {change.mean:+.4g} [{change.low:+.4g}, {change.high:+.4g}] on {change.count} {vocabulary.counted}"
    )
    surely = {
        ">=": change.high >= gate.limit,  # not surely worse
        "<=": change.low <= gate.limit,
        ">": change.low > gate.limit,  # surely better
        "<": change.high < gate.limit,
    }
    return surely[gate.sign], change.mean, says
