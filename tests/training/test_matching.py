"""The size of the velocity field follows the time that there is, and the machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cfx.training.budget import Budget, Share
from cfx.training.context import TrainingContext
from cfx.training.parts.matching import LONGER, NARROW, NARROW_COST, USUAL, WEIGHT, WIDE, MatchingPart
from cfx.training.recipe import RECIPES, recipe_for
from cfx.training.schedule import Schedule


def context(tmp_path: Path, seconds: float | None, per_weight: float, device: str = "cpu", own: bool = True) -> Any:
    """A context that has so much time, on a machine of this speed."""
    budget = None
    if seconds is not None:
        budget = Budget(seconds, {"matching": Share(weight=WEIGHT)}, tmp_path / "s.json", clock=lambda: 0.0, began=0.0)
    recipe = recipe_for("mine", ("a", "b"), (1, 28, 28), 1000) if own else RECIPES["mnist"]
    made = SimpleNamespace(budget=budget, seconds_per_weight=per_weight, device=torch.device(device), recipe=recipe)
    made.share_of_time = lambda *asked: TrainingContext.share_of_time(made, *asked)
    return made


@pytest.mark.parametrize(
    ("seconds", "width"), [(None, USUAL), (WEIGHT * 10, USUAL), (WEIGHT * 2.5, NARROW), (WEIGHT * 0.1, NARROW)]
)
def test_the_network_is_narrow_where_time_is_short(tmp_path: Path, seconds: float | None, width: int):
    assert MatchingPart().width(context(tmp_path, seconds, 5.0)) == width, "the whole fit takes 60 s"


def test_on_an_accelerator_a_bundle_of_ones_own_has_a_wide_one(tmp_path: Path):
    assert MatchingPart().width(context(tmp_path, None, 5.0, "cuda")) == WIDE
    assert MatchingPart().width(context(tmp_path, None, 5.0, "cuda", own=False)) == USUAL, "shipped bundles stay small"
    assert LONGER > 1


def test_it_is_left_out_only_if_not_even_the_narrow_one_can_be_trained(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Schedule, "seconds_per_weight", 1.0)
    told: list[str] = []
    wanted: list[tuple[str, ...]] = []
    file = SimpleNamespace(wanted=("judge", "matching"))
    bundle = SimpleNamespace(file=file, directory=Path("b"), update=lambda **changes: wanted.append(changes["wanted"]))
    session: Any = SimpleNamespace(present=[0, 1], progress=SimpleNamespace(note=told.append), bundle=bundle)
    parts: list[Any] = [MatchingPart()]
    assert Schedule(session, WEIGHT, began=0.0).affordable(parts) == parts
    assert Schedule(session, WEIGHT * NARROW_COST * 1.01, began=0.0).affordable(parts) == parts and not told
    assert Schedule(session, WEIGHT * NARROW_COST * 0.9, began=0.0).affordable(parts) == []
    assert wanted == [("judge",)] and "cfx train b --only matching" in told[0]
