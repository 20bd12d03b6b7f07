"""`cfx train` from the outside; what a recipe makes is tested in tests/bundles/test_recipe.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cfx.bundles import recipe
from cfx.bundles.bundle import Bundle

Run = Callable[..., Any]  # a command line -> conftest's Result


def test_a_missing_data_set_is_one_line(run: Run, tmp_path: Path):
    result = run("train", "--data", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert result.code == 2
    assert "nowhere: no MNIST there; expected the files that torchvision keeps in" in result.error
    assert not (tmp_path / "out").exists()


def test_an_unknown_recipe_is_one_line(run: Run, tmp_path: Path):
    result = run("train", "--recipe", "mnits", "--data", tmp_path, "--out", tmp_path / "out")
    assert result.code == 2
    assert "unknown recipe 'mnits': did you mean 'mnist'" in result.error


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe with next to no training."""
    mnist = recipe.RECIPES["mnist"]
    monkeypatch.setitem(recipe.RECIPES, "mnist", dataclasses.replace(mnist, epochs=dict.fromkeys(mnist.epochs, 0.02)))


def test_one_part_is_made_from_the_real_data_set(run: Run, short: None, data_root: Path, tmp_path: Path):
    result = run("train", "--data", data_root, "--out", tmp_path / "out", "--only", "judge")
    assert result.code == 0, result.stderr
    made = Bundle(tmp_path / "out")
    made.verify()
    assert list(made.parts) == ["judge"]
    assert 0 < made.parts["judge"]["measured"]["test_accuracy"] < 1
    assert "judge" in result.stdout


def test_a_part_whose_basis_is_missing_says_so(run: Run, short: None, data_root: Path, tmp_path: Path):
    result = run("train", "--data", data_root, "--out", tmp_path / "out", "--only", "reference")
    assert result.code == 2
    assert "has no part 'judge'" in result.stderr


def test_ctrl_c_leaves_a_run_that_can_go_on(
    run: Run, short: None, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(recipe.MAKERS, "judge", interrupt)
        assert run("train", "--data", data_root, "--out", tmp_path / "out", "--only", "judge").code == 130
    assert run("train", "--data", data_root, "--out", tmp_path / "out", "--only", "judge").code == 0
