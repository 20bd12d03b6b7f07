"""Every metric by name: what it is called, which way is better, how it is printed. docs/metrics.md says the rest."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Group(StrEnum):
    """What a metric is about; tables keep this order."""

    VALIDITY = "validity"
    REALISM = "realism"
    DISTANCE = "distance"
    ROBUSTNESS = "robustness"
    SET = "set"
    COST = "cost"


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: in records, gates and JSON.
        label: in tables.
        better: which way; None where neither is.
        kind: `share` in [0, 1] and printed in per cent, or `number`.
        group: what it is about.
        yes_or_no: one image's value is true or false, so that its mean is a proportion.
        of_set: it has one value for all counterfactuals of an engine, and none for a single one.
        of_batch: an image's value is its share of the batch's, so that images of a batch are no sample.
    """

    name: str
    label: str
    better: Literal["higher", "lower"] | None
    kind: Literal["share", "number"]
    group: Group
    yes_or_no: bool = False
    of_set: bool = False
    of_batch: bool = False

    def shown(self, value: float | None) -> str:
        """The value as a table prints it; a dash where there is none."""
        if value is None:
            return "-"
        if self.kind == "share":
            return f"{100 * value:.1f} %"
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


METRICS = (
    Metric("validity", "valid", "higher", "share", Group.VALIDITY, yes_or_no=True),
    Metric("confidence", "confidence", None, "share", Group.VALIDITY),
    Metric("judge_agrees", "judges agree", "higher", "share", Group.VALIDITY, yes_or_no=True),
    Metric("judge_confidence", "judges' confidence", "higher", "share", Group.VALIDITY),
    Metric("looks_real", "looks real", "higher", "share", Group.REALISM, yes_or_no=True),
    Metric("realism_percentile", "realism percentile", None, "number", Group.REALISM),
    Metric("knn_agreement", "kNN agreement", "higher", "share", Group.REALISM),
    Metric("im1", "IM1", "lower", "number", Group.REALISM),
    Metric("im2", "IM2", "lower", "number", Group.REALISM),
    Metric("frechet", "Fréchet joint", "lower", "number", Group.REALISM, of_set=True),
    Metric("l0", "pixels changed", "lower", "share", Group.DISTANCE),
    Metric("l1", "L1", "lower", "number", Group.DISTANCE),
    Metric("l2", "L2", "lower", "number", Group.DISTANCE),
    Metric("linf", "Linf", "lower", "number", Group.DISTANCE),
    Metric("lpips", "LPIPS", "lower", "number", Group.DISTANCE),
    Metric("cout", "COUT", "higher", "number", Group.DISTANCE),
    Metric("robust_noise", "holds under noise", "higher", "share", Group.ROBUSTNESS),
    Metric("robust_retrained", "holds when retrained", "higher", "share", Group.ROBUSTNESS),
    Metric("diversity", "diversity", "higher", "number", Group.SET, of_set=True),
    Metric("steps", "steps", "lower", "number", Group.COST),
    Metric("forward_calls", "forward calls", "lower", "number", Group.COST),
    Metric("backward_calls", "backward calls", "lower", "number", Group.COST),
    Metric("seconds", "seconds an image", "lower", "number", Group.COST, of_batch=True),
    Metric("images_per_second", "images a second", "higher", "number", Group.COST, of_set=True),
    Metric("peak_memory_mb", "peak memory, MB", "lower", "number", Group.COST, of_set=True),
)

BY_NAME = {metric.name: metric for metric in METRICS}
