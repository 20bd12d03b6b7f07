"""`cfx train` from the outside; what a recipe makes is tested in tests/training/test_session.py."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cfx.bundles.bundle import Bundle, load_bundle
from cfx.bundles.entries import Reached, ReachEntry, TrialEntry
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
    assert result.code == 1, "a judge of a step or two is useless"
    assert "do not use this bundle yet: judge is useless" in result.stdout
    made = Bundle(tmp_path / "out")
    made.verify()
    assert list(made.parts) == ["judge"] and made.parts["judge"].verdict == "useless"
    assert 0 < made.parts["judge"].measured["test_accuracy"] < 1
    assert "judge" in result.stdout


def test_a_part_whose_basis_is_missing_says_so(run: Run, short: None, data_root: Path, tmp_path: Path):
    result = run("train", tmp_path / "out", "--recipe", "mnist", "--data", data_root, "--only", "reference")
    assert result.code == 2
    assert "is not trained yet; `cfx train" in result.stderr


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize(("signalled", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_run_that_can_go_on(
    run: Run,
    short: None,
    data_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    signalled: signal.Signals,
    code: int,
):
    def interrupt(*_: object) -> None:
        signal.raise_signal(signalled)

    with monkeypatch.context() as patch:
        patch.setattr(JudgePart, "make", interrupt)
        stopped = run("train", tmp_path / "out", "--recipe", "mnist", "--data", data_root, "--only", "judge")
        assert stopped.code == code
        assert f"interrupted; run the same command again to resume {tmp_path / 'out'}" in stopped.stderr
    assert run("train", tmp_path / "out", "--recipe", "mnist", "--data", data_root, "--only", "judge").code == 1
    assert list(Bundle(tmp_path / "out").parts) == ["judge"]


def test_two_times_are_one_too_many(run: Run, tmp_path: Path):
    result = run("train", tmp_path, "--budget", "1m", "--more", "1m")
    assert result.code == 2 and "--budget and --more: give one of them" in result.error


def test_a_bundle_with_a_useless_part_is_not_ready(run: Run, tmp_path: Path):
    shutil.copytree(load_bundle("mnist").directory, tmp_path / "b")
    (tmp_path / "b" / "contact-sheet.png").write_bytes(b"")
    ready = run("train", tmp_path / "b")
    assert ready.code == 0 and f"ready: cfx explain PHOTO --bundle {tmp_path / 'b'}" in ready.stdout
    made = Bundle(tmp_path / "b")
    made.update(
        parts={**made.parts, "judge": replace(made.parts["judge"], verdict="useless", because="at chance")},
        trial={"projection": TrialEntry(questions=50, valid=0.98, judges_agree=0.9, looks_real=None, seconds=0.1)},
        reach=ReachEntry(
            engine="projection",
            confidence=0.9,
            pairs={(4, 9): Reached(reached=5, asked=5), (9, 0): Reached(reached=1, asked=5)},
        ),
    )
    result = run("train", tmp_path / "b")
    assert result.code == 1
    assert "useless: at chance" in result.stdout
    assert "do not use this bundle yet: judge is useless; run `cfx train" in result.stdout
    assert "--more 10m" in result.stdout
    assert [*filter(None, result.stdout.partition("projection")[2].splitlines()[0].split())] == [
        *("50", "98%", "90%", "-", "0.1"),
    ]
    assert "far for projection, of 2 pairs of classes: 9 to 0 (20%)" in result.stdout
