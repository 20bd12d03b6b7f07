"""Runs side by side."""

from __future__ import annotations

import pytest

from cfx.benchmarks.compare import changes, changes_against, check_questions, read_baseline, read_finished, side_by_side
from cfx.errors import DataError, UsageError


@pytest.fixture
def runs(make, perform, tmp_path):
    """The same questions by two engines at two confidences."""
    first = perform(make("vcnet", out=tmp_path / "first"))
    second = perform(make("vcnet", "pixel", out=tmp_path / "second", confidence=0.6))
    return read_finished(first.path), read_finished(second.path)


def test_side_by_side_and_paired(runs):
    first, second = runs
    summary, same = side_by_side([first, second])
    control = "nearest-accepted"
    assert same
    assert [*summary.engines] == ["first: vcnet", f"first: {control}", "second: vcnet", "pixel", f"second: {control}"]
    assert summary.compared == ("first: vcnet", "second: vcnet") and summary.common_pairs == 20
    changed = changes(second.columns, first.columns)
    confidence = changed["vcnet", "confidence"]
    assert confidence is not None and confidence.high is not None and confidence.high < 0, "less was asked for"
    distance = changed["vcnet", "l1"]
    assert distance is not None and distance.high is not None and distance.high < 0, "and so it is nearer"
    assert ("pixel", "l1") not in changed


def test_engines_against_one_of_them(runs):
    first, second = runs
    differing = changes_against([second], "pixel")
    assert {engine for engine, _ in differing} == {"vcnet", "nearest-accepted"}
    farther = differing["vcnet", "l1"]
    both = second.columns["vcnet"].valid & second.columns["pixel"].valid
    expected = [float(second.columns[name].values["l1"][both].mean()) for name in ("vcnet", "pixel")]
    assert farther is not None and farther.mean == pytest.approx(expected[0] - expected[1], abs=1e-6)
    assert farther.low is not None and farther.high is not None and farther.low < farther.mean < farther.high
    assert {engine for engine, _ in changes_against(runs, "first: vcnet")} == {
        "first: nearest-accepted", "second: vcnet", "pixel", "second: nearest-accepted",
    }  # fmt: skip
    seconds = differing["vcnet", "seconds"]
    assert seconds is not None and seconds.low is None, "of a batch, so that nothing is known of its spread"
    del first.columns["nearest-accepted"]  # as in a run of a region
    with pytest.raises(UsageError, match="--against vcnet: there is no other engine"):
        changes_against([first], "vcnet")
    with pytest.raises(UsageError, match="--against vcnt: unknown engine 'vcnt': did you mean 'vcnet'"):
        changes_against([second], "vcnt")


def test_a_run_beside_itself_is_shown_twice(runs):
    assert list(side_by_side([runs[0], runs[0]])[0].engines) == [
        f"{number} {runs[0].run.path}: {name}" for number in (1, 2) for name in ("vcnet", "nearest-accepted")
    ]


def test_a_run_against_itself_has_not_changed(runs):
    change = changes(runs[0].columns, runs[0].columns)["vcnet", "l1"]
    assert change is not None and (change.mean, change.low, change.high) == (0, 0, 0)


def test_other_questions_are_not_paired(runs, make, perform, tmp_path):
    other = read_finished(perform(make("vcnet", out=tmp_path / "other", seed=5)).path)
    summary, same = side_by_side([runs[0], other])
    assert not same and summary.common_pairs == 0
    assert "the runs ask different questions" in summary.notes[-1]
    assert summary.engines["other: vcnet"].metrics["l1"].keys() == {"valid"}
    with pytest.raises(UsageError, match="--against pixel: the runs ask different questions"):
        changes_against([runs[1], other], "pixel")
    with pytest.raises(UsageError, match="asks other questions"):
        check_questions(other, runs[0].run.questions)


def test_what_is_no_finished_run_is_said(runs, tmp_path):
    with pytest.raises(UsageError, match="no run there"):
        read_finished(tmp_path / "nowhere")
    (runs[0].run.path / "summary.json").unlink()
    with pytest.raises(UsageError, match=r"--baseline .*the run is not finished"):
        read_baseline(runs[0].run.path)
    (runs[1].run.path / "summary.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        read_finished(runs[1].run.path)
    (runs[1].run.path / "manifest.json").write_text("[]")
    with pytest.raises(DataError, match="this cfx reads schema 2"):
        read_finished(runs[1].run.path)
