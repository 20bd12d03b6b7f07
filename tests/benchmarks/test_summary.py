"""What is averaged over which pairs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from cfx.benchmarks.summary import common, summarise
from cfx.metrics.catalogue import METRICS
from cfx.reports.summary import BundleName, Summary

TOY = BundleName(name="toy", digest="0")


def mean(summary: Summary, engine: str, metric: str, basis: Any) -> float:
    found = summary.engines[engine].estimate(metric, basis)
    assert found is not None
    return found.mean


def test_survivor_bias_is_shown_not_hidden(answers):
    """The timid engine solves the easy pairs only: on its own valid ones it looks nearer, on the common ones not."""
    found = answers(
        bold=[(True, 10.0), (True, 20.0), (True, 90.0), (True, 100.0)],
        timid=[(True, 12.0), (True, 22.0), (False, 1.0), (False, 1.0)],
    )
    summary = summarise(found, bundle=TOY)
    assert summary.common_pairs == 2 and summary.compared == ("bold", "timid")
    assert mean(summary, "timid", "l1", "valid") == 17 < mean(summary, "bold", "l1", "valid") == 55
    assert mean(summary, "timid", "l1", "common") == 17 > mean(summary, "bold", "l1", "common") == 15
    assert mean(summary, "timid", "validity", "common") == 0.5, "validity is of all pairs, whatever is asked for"
    assert summary.best("l1", "common") == {"bold"} and summary.best("l1", "valid") == {"timid"}


def test_a_control_neither_narrows_the_common_pairs_nor_wins(answers):
    found = answers(engine=[(True, 10.0), (True, 20.0)], other=[(True, 30.0), (True, 30.0)],
                    control=[(False, 0.0), (False, 0.0)])  # fmt: skip
    summary = summarise(found, bundle=TOY)
    assert summary.common_pairs == 2
    assert mean(summary, "control", "l1", "common") == 0, "a control's figures are of all its answers"
    assert summary.best("l1", "common") == {"engine"}
    assert summary.engines["engine"].estimate("l1", "all") == summary.engines["engine"].estimate("l1", "valid")


def test_what_nobody_solved_is_missing_and_said(answers):
    summary = summarise(answers(engine=[(False, 1.0)], other=[(True, 2.0)]), bundle=TOY)
    assert summary.common_pairs == 0
    assert summary.engines["engine"].estimate("l1", "valid") is None
    assert summary.engines["other"].estimate("l1", "common") is None
    assert summary.notes == ("engine solved no pair, so there are no common pairs",)


def test_cost_is_of_all_pairs_and_peaks_are_peaks(answers):
    summary = summarise(answers(engine=[(True, 1.0), (False, 2.0)]), bundle=TOY)
    assert mean(summary, "engine", "images_per_second", "valid") == pytest.approx(2)
    assert mean(summary, "engine", "peak_memory_mb", "valid") == 101
    seconds = summary.engines["engine"].estimate("seconds", "common")
    assert seconds is not None and seconds.count == 2 and seconds.low is None, "a batch's share has no spread"


def test_equals_are_not_called_best(answers):
    summary = summarise(answers(a=[(True, 1.0)], b=[(True, 1.0)], c=[(True, 2.0)]), bundle=TOY)
    assert summary.best("l1", "common") == {"a", "b"}
    assert summary.best("steps", "common") == set(), "all the same"
    assert summary.best("lpips", "common") == set(), "nobody has it"


def test_the_summary_is_json_without_nan(answers):
    text = json.dumps(
        summarise(answers(engine=[(True, float("nan")), (False, 2.0)]), bundle=TOY).as_json(), allow_nan=False
    )
    assert set(json.loads(text)["engines"]["engine"]["metrics"]) <= {metric.name for metric in METRICS}


def test_common_of_controls_alone(answers):
    found = answers(control=[(True, 1.0), (False, 1.0)])
    assert common(found).tolist() == [True, False]
    assert np.isnan(found["control"].values["lpips"]).all()
