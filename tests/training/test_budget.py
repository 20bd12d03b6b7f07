"""Time is shared out by weight, what one fit leaves over goes to the others, and a second start knows of the first."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from cfx.training.budget import LEAST_STEPS, Budget
from cfx.training.fit import Fit
from cfx.training.parts import parts_of
from cfx.training.recipe import RECIPES


def fit_of(seconds_per_step: float, total_steps: int = 10**6) -> Mock:
    fit = Mock(spec=Fit)
    fit.total_steps = total_steps
    fit.seconds_per_step.return_value = seconds_per_step
    return fit


def test_a_fit_gets_its_share_and_no_more_than_it_asks_for(tmp_path: Path):
    budget = Budget(1000, [("vae", 3.0), ("flow", 1.0)], tmp_path / "spent.json")
    assert budget.allot("vae", fit_of(1.0)) == pytest.approx(0.92 * 750, abs=2)
    assert budget.allot("vae", fit_of(1.0, total_steps=50)) == 50
    assert budget.allot("vae", fit_of(1000.0)) == LEAST_STEPS


def test_what_a_fit_leaves_over_goes_to_the_others(tmp_path: Path):
    budget = Budget(1000, [("vae", 3.0), ("flow", 1.0)], tmp_path / "spent.json")
    before = budget.allot("flow", fit_of(1.0))
    budget.done("vae")
    assert budget.allot("flow", fit_of(1.0)) == pytest.approx(4 * before, abs=8)


def test_a_second_start_knows_what_the_first_has_spent(tmp_path: Path):
    first = Budget(1000, [("flow", 1.0)], tmp_path / "spent.json")
    first.start -= 600
    first.save()
    second = Budget(1000, [("flow", 1.0)], tmp_path / "spent.json")
    assert second.spent == pytest.approx(600, abs=5)
    assert second.allot("flow", fit_of(1.0)) == pytest.approx(320, abs=6)


def test_every_part_that_is_fitted_has_a_share():
    parts = parts_of(RECIPES["mnist"])
    trained = {part.makes for part in parts if part.fits(range(10))}
    assert trained == {part.makes for part in parts} - {("anchors",), ("reference",), ("donors",)}
    labels = [label for part in parts for label in part.fits(range(3))]
    assert len(labels) == len(set(labels))
    assert {"retrained-1", "conditional_vae-guide-0", "autoencoders-2", "autoencoders-all"} <= set(labels)
