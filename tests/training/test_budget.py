"""Time is shared out by the clock: judges first, what a fit leaves over goes to the others, restarts are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from cfx.training.budget import FOR_CLASSIFIERS, RESERVE, TRIAL, Budget, Share
from cfx.training.parts import parts_of
from cfx.training.recipe import RECIPES

REST = 1 - RESERVE - TRIAL


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def budget_of(tmp_path: Path, clock: Clock, command: str = "", **shares: Share) -> Budget:
    return Budget(1000, shares, tmp_path / "spent.json", command=command, clock=clock)


def test_judges_share_the_first_half_and_the_others_the_rest(tmp_path: Path):
    shares = {
        "judge": Share(weight=3.0, classifies=True),
        "second_judge": Share(weight=1.0, classifies=True),
        "vae": Share(weight=3.0),
        "flow": Share(weight=1.0),
    }
    clock = Clock()
    budget = budget_of(tmp_path, clock, **shares)
    assert budget.allot("judge") == pytest.approx(FOR_CLASSIFIERS * 750)
    clock.now += 450
    budget.done("judge")
    assert budget.allot("second_judge") == pytest.approx(50), "half of the budget is nearly gone"
    budget.done("second_judge")
    assert budget.allot("vae") == pytest.approx(0.75 * (REST * 1000 - 450))
    clock.now += 1000
    assert budget.allot("flow") == 0 and budget.left == 0


def test_judges_alone_get_all_of_it(tmp_path: Path):
    budget = budget_of(tmp_path, Clock(), judge=Share(weight=2.0, classifies=True))
    assert budget.allot("judge") == pytest.approx(REST * 1000)


def test_what_a_fit_leaves_over_goes_to_the_others(tmp_path: Path):
    budget = budget_of(tmp_path, Clock(), vae=Share(weight=3.0), flow=Share(weight=1.0))
    before = budget.allot("flow")
    budget.done("vae")
    assert budget.allot("flow") == pytest.approx(4 * before)


@pytest.mark.parametrize(("command", "left"), [("only judge", REST * 1000 - 600), ("", REST * 1000)])
def test_a_second_start_of_the_same_command_knows_what_the_first_has_spent(tmp_path: Path, command: str, left: float):
    clock = Clock()
    first = budget_of(tmp_path, clock, "only judge", flow=Share(weight=1.0))
    clock.now += 600
    first.save()
    clock.now += 5000  # until somebody starts it again
    assert budget_of(tmp_path, clock, command, flow=Share(weight=1.0)).allot("flow") == pytest.approx(left, abs=0.1)


def test_a_fit_that_was_killed_gets_the_rest_of_its_share(tmp_path: Path):
    clock = Clock()
    shares = {"vae": Share(weight=1.0), "flow": Share(weight=1.0)}
    budget = budget_of(tmp_path, clock, **shares)
    whole = budget.allot("vae")
    clock.now += 300
    budget.save()
    assert budget_of(tmp_path, clock, **shares).allot("vae", before=300) == pytest.approx(whole, abs=0.1)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"seconds": "x", "command": ""}', "3"])
def test_a_damaged_record_of_the_time_spent_is_as_good_as_none(tmp_path: Path, content: str):
    (tmp_path / "spent.json").write_text(content)
    assert budget_of(tmp_path, Clock(), flow=Share(weight=1.0)).spent == 0


def test_every_part_that_is_fitted_has_a_share():
    parts = parts_of(RECIPES["mnist"])
    trained = {part.makes for part in parts if part.fits(range(10))}
    assert trained == {part.makes for part in parts} - {("anchors",), ("reference",), ("donors",)}
    labels = [label for part in parts for label in part.fits(range(3))]
    assert len(labels) == len(set(labels))
    assert {"retrained-1", "conditional_vae-guide-0", "autoencoders-2", "autoencoders-all"} <= set(labels)
    first = [part.makes[0] for part in parts if part.classifies]
    assert first == ["classifier", "judge", "second_judge"] == [part.makes[0] for part in parts][:3]
