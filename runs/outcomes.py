"""Checks gates against the figures of a run."""

from __future__ import annotations

import operator
from collections.abc import Mapping

from ..intervals import Estimate
from ..metrics.catalogue import BY_NAME
from .gates import Gate, Outcome

COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


Figures = Mapping[str, Mapping[str, Estimate | None]]
"""By subject and measure, a figure; None if it has no value."""


def check_gate(
    gate: Gate, figures: Figures, changes: Mapping[tuple[str, str], Estimate | None], *, min_pairs: int = 1
) -> Outcome:
    """Check a gate.

    Args:
        gate: the gate.
        figures: of the run.
        changes: paired difference to the baseline by engine and metric.
        min_pairs: the gate fails if its figure is computed over fewer questions.
    """
    if gate.baseline:
        figure = changes.get((gate.engine, gate.metric))
        passed, measured, says = _against_baseline(gate, figure)
    else:
        figure = figures[gate.engine].get(gate.metric)
        passed, measured, says = _against_number(gate, figure)
    pairs = 0 if figure is None else figure.count
    if measured is not None and pairs < min_pairs:
        passed, says = False, f"{says}, but on {pairs} pairs only (--min-pairs {min_pairs})"
    outcome = "passed" if passed else "failed"
    return Outcome(
        gate=gate.name,
        engine=gate.engine,
        passed=passed,
        measured=measured,
        pairs=pairs,
        says=f"{gate.text}: {outcome}, {says}",
    )


def _against_number(gate: Gate, figure: Estimate | None) -> tuple[bool, float | None, str]:
    value = None if figure is None else getattr(figure, gate.statistic)
    if figure is None or value is None:
        return False, None, f"{gate.metric} has no value (n/a)"
    metric = BY_NAME[gate.metric]
    spread = [("mean", figure.mean), ("median", figure.median), ("p95", figure.p95)]
    others = [
        f"{name} {metric.shown(other)}"
        for name, other in spread
        if name != gate.statistic and other is not None and not metric.yes_or_no
    ]
    shown = f" ({metric.shown(value)})" if metric.kind == "share" else ""
    on = f" on {figure.count} pairs"
    says = f"measured {value:.6g}{shown}{on}" + (f"; {', '.join(others)}" if others else "")
    return COMPARE[gate.sign](value, gate.limit), value, says


def _against_baseline(gate: Gate, change: Estimate | None) -> tuple[bool, float | None, str]:
    if change is None or change.low is None or change.high is None:
        return False, None, "there is nothing to compare"
    says = f"changed by {change.mean:+.4g} [{change.low:+.4g}, {change.high:+.4g}] on {change.count} pairs"
    surely = {
        ">=": change.high >= gate.limit,  # not surely worse
        "<=": change.low <= gate.limit,
        ">": change.low > gate.limit,  # surely better
        "<": change.high < gate.limit,
    }
    return surely[gate.sign], change.mean, says
