"""`cfx train` from the outside; what a recipe makes is tested in tests/training/test_session.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cfx.bundles.bundle import Bundle
from cfx.training import recipe
from cfx.training.parts.judge import JudgePart

Run = Callable[..., Any]  # a command line -> conftest's Result


def test_a_missing_data_set_is_one_line(run: Run, tmp_path: Path):
    result = run("train", tmp_path / "out", "--recipe", "mnist", "--data", tmp_path / "nowhere")
    assert result.code == 2
    assert "nowhere: no MNIST there; expected the files that torchvision keeps in" in result.error
    assert not (tmp_path / "out").exists()


def test_training_without_init_or_recipe_says_how_to_begin(run: Run, tmp_path: Path, toy: Path):
    result = run("train", toy)
    assert result.code == 2
    assert "names no images to train on; create it with `cfx init`, or give its --recipe" in result.error
    assert "no bundle.toml there" in run("train", tmp_path / "nothing").error


@pytest.mark.parametrize("budget", ["soon", "20", "m", "-5m", "1x"])
def test_a_budget_that_is_no_time_is_one_line(run: Run, tmp_path: Path, budget: str):
    result = run("train", tmp_path, f"--budget={budget}")
    assert result.code == 2
    assert f"budget {budget!r}: not a time; write it as 90s, 20m, 2h or 1h30m" in result.error


def test_an_unknown_recipe_is_one_line(run: Run, tmp_path: Path):
    result = run("train", tmp_path / "out", "--recipe", "mnits", "--data", tmp_path)
    assert result.code == 2
    assert "unknown recipe 'mnits': did you mean 'mnist'" in result.error


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, shorten: Callable[[recipe.Recipe, float], recipe.Recipe]) -> None:
    """The recipe with next to no training."""
    monkeypatch.setitem(recipe.RECIPES, "mnist", shorten(recipe.RECIPES["mnist"], 0.02))


def test_one_part_is_made_from_the_real_data_set(run: Run, short: None, data_root: Path, tmp_path: Path):
    result = run("train", tmp_path / "out", "--recipe", "mnist", "--data", data_root, "--only", "judge")
    assert result.code == 0, result.stderr
    made = Bundle(tmp_path / "out")
    made.verify()
    assert list(made.parts) == ["judge"]
    assert 0 < made.parts["judge"].measured["test_accuracy"] < 1
    assert "judge" in result.stdout


def test_a_part_whose_basis_is_missing_says_so(run: Run, short: None, data_root: Path, tmp_path: Path):
    result = run("train", tmp_path / "out", "--recipe", "mnist", "--data", data_root, "--only", "reference")
    assert result.code == 2
    assert "is not trained yet; `cfx train" in result.stderr


def test_ctrl_c_leaves_a_run_that_can_go_on(
    run: Run, short: None, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(JudgePart, "make", interrupt)
        assert run("train", tmp_path / "out", "--recipe", "mnist", "--data", data_root, "--only", "judge").code == 130
    assert run("train", tmp_path / "out", "--recipe", "mnist", "--data", data_root, "--only", "judge").code == 0
