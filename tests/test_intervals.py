"""Intervals: against cases worked out by hand and by known coverage."""

from __future__ import annotations

import numpy as np
import pytest

from cfx.intervals import bootstrap, estimates, paired_difference, wilson


def test_wilson_against_published_values():
    # Newcombe 1998, table I: 81 of 263, and 0 of 20, and 1 of 29, by the score method without continuity correction
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_a_thousand_successes_in_a_thousand_do_not_prove_certainty():
    (found,) = estimates({"validity": np.ones(1000)}, {"validity"}).values()
    assert found is not None and found.mean == found.high == 1 and 0.995 < (found.low or 0) < 0.997
    (alike,) = estimates({"robust_noise": np.ones(1000)}, set(), {"robust_noise"}).values()
    assert alike is not None and alike.low == found.low


def test_the_bootstrap_agrees_with_the_normal_interval_of_a_large_sample():
    values = np.random.default_rng(1).normal(3, 2, size=(4000, 1))
    low, high = bootstrap(values)
    half = 1.96 * values.std() / 4000**0.5
    assert low[0] == pytest.approx(values.mean() - half, abs=0.01)
    assert high[0] == pytest.approx(values.mean() + half, abs=0.01)


def test_the_bootstrap_covers_about_as_often_as_it_says():
    generator = np.random.default_rng(2)
    samples = generator.exponential(1.0, size=(60, 200))  # each column a sample of 60, whose true mean is 1
    low, high = bootstrap(samples)
    assert 0.88 < ((low < 1) & (high > 1)).mean() < 0.98


def test_absent_values_are_left_out():
    column = np.array([1.0, np.nan, 3.0, np.nan])
    found = estimates({"l1": column, "lpips": np.full(4, np.nan)})
    assert found["lpips"] is None
    l1 = found["l1"]
    assert l1 is not None and (l1.mean, l1.median, l1.count) == (2, 2, 2) and l1.low == 1 and l1.high == 3


def test_one_value_has_no_interval():
    (found,) = estimates({"l1": np.array([5.0])}).values()
    assert found is not None and found.mean == 5 and found.low is None and found.high is None


def test_the_same_figures_every_time():
    values = np.random.default_rng(3).random((300, 2))
    assert all((a == b).all() for a, b in zip(bootstrap(values), bootstrap(values), strict=True))


def test_pairing_finds_a_small_shift_in_a_wide_spread():
    generator = np.random.default_rng(4)
    before = generator.normal(80, 30, size=500)
    change = paired_difference(before + generator.normal(0.5, 1, size=500), before)
    assert change is not None and change.low is not None and 0.3 < change.low < 0.5 < (change.high or 0) < 0.7
    assert paired_difference(np.array([np.nan]), np.array([1.0])) is None
