"""Reachability: every pair of classes is tried, within the time, and a target that is seldom reached is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cfx.answers.asking import ask
from cfx.answers.question import Source
from cfx.answers.reach import far_note
from cfx.answers.wanted import Wanted
from cfx.bundles.bundle import Bundle
from cfx.bundles.entries import Reached, ReachEntry, TrialEntry
from cfx.counterfactuals.engines.vcnet import VCNet
from cfx.errors import BundleError
from cfx.training.reach import BATCH_SIZE, EACH, LONGEST, questions_between, try_pairs

from .test_trial import Clock, Same

MNIST = Path(__file__).parents[2] / "bundles" / "mnist"


@pytest.fixture
def mine(tmp_path: Path) -> Bundle:
    """A copy of the shipped bundle, to be changed."""
    shutil.copytree(MNIST, tmp_path / "mine")
    return Bundle(tmp_path / "mine")


def test_every_pair_is_asked_once_before_any_is_asked_again(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    rows, seen, targets = questions_between(bundle, digits[0])
    with torch.inference_mode():
        assert torch.equal(bundle.classifier(digits[0][rows]).argmax(dim=1), seen)
    pairs = list(zip(seen.tolist(), targets.tolist(), strict=True))
    assert len(set(pairs[:90])) == 90 and all(one != other for one, other in pairs)
    assert len(pairs) == 90 * EACH
    assert len({(row, pair) for row, pair in zip(rows.tolist(), pairs, strict=True)}) == len(pairs)


def test_what_is_reached_is_counted(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    reach = try_pairs(bundle, VCNet.from_bundle(bundle), digits[0][:40])
    assert reach is not None and reach.engine == "vcnet" and reach.confidence == 0.9
    reached = sum(each.reached for each in reach.pairs.values())
    assert 0.9 < reached / sum(each.asked for each in reach.pairs.values()) <= 1
    nowhere = try_pairs(bundle, Same(clock=Clock()), digits[0][:10])
    assert nowhere is not None and not any(each.reached for each in nowhere.pairs.values())


@pytest.mark.parametrize(("seconds", "batches"), [(0.0, 0), (BATCH_SIZE * 2.5, 2), (BATCH_SIZE * 4.5, 4)])
def test_it_ends_in_time(bundle: Bundle, digits: tuple[Tensor, Tensor], seconds: float, batches: int):
    clock = Clock()
    reach = try_pairs(bundle, Same(clock=clock), digits[0], seconds=seconds, clock=clock)
    assert (0 if reach is None else sum(each.asked for each in reach.pairs.values())) == batches * BATCH_SIZE
    assert clock.now <= seconds


def test_without_a_budget_it_ends_in_some_minutes(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    clock = Clock()
    assert try_pairs(bundle, Same(clock=clock, costs=2.0), digits[0], clock=clock) is not None
    assert LONGEST / 2 < clock.now <= LONGEST


def test_what_the_trial_of_engines_took_is_expected(mine: Bundle, digits: tuple[Tensor, Tensor]):
    slow = TrialEntry(questions=50, valid=1.0, judges_agree=None, looks_real=None, seconds=10.0)
    mine.update(trial={"same": slow})
    assert try_pairs(mine, Same(clock=Clock()), digits[0], seconds=60.0) is None


def test_an_engine_that_fails_reaches_nothing_that_could_be_said(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    assert try_pairs(bundle, Same(clock=Clock(), fails=True), digits[0][:10]) is None


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ({(4, 0): (1, 5), (4, 9): (5, 5), (4, 7): (1, 5)}, "1 of 5 times; nearer: 9 (5 of 5)"),
        ({(4, 0): (0, 5)}, "0 of 5 times"),
        ({(4, 0): (0, 1), (2, 0): (1, 5)}, "1 of 6 times"),
        ({(4, 0): (3, 5)}, None),
        ({(4, 0): (0, 2)}, None),
        ({}, None),
    ],
)
def test_a_far_target_is_told_with_nearer_ones(
    mine: Bundle, digits: tuple[Tensor, Tensor], pairs: dict[tuple[int, int], tuple[int, int]], told: str | None
):
    counts = {pair: Reached(reached=reached, asked=asked) for pair, (reached, asked) in pairs.items()}
    mine.update(reach=ReachEntry(engine="leap", confidence=0.9, pairs=counts))
    again = Bundle(mine.directory)
    assert again.file.reach == mine.file.reach
    image = digits[0][digits[1] == 4][:1]
    (question,) = ask(again, image, [Source(name="four")], [Wanted("target", (0,))]).questions
    note = far_note(again, question, image[0])
    assert note == (told and f"from 4 to 0 is far: with held-out images, leap reached it {told}")


def test_nothing_is_told_where_nothing_was_tried(mine: Bundle, digits: tuple[Tensor, Tensor]):
    mine.update(reach=None)
    (question,) = ask(mine, digits[0][:1], [Source(name="one")], [Wanted("target", (0,))]).questions
    assert far_note(mine, question, digits[0][0]) is None


@pytest.mark.parametrize("pairs", ["[[1, 2, 3]]", "[[1, 2, 3, 4]]", "[[1, 2, 0, 0]]", "[7]", "7", '[[1, 2, 3, "all"]]'])
def test_a_damaged_table_is_named(mine: Bundle, pairs: str):
    mine.update(reach=None)
    path = mine.directory / "bundle.toml"
    path.write_text(f'reach = {{ engine = "leap", confidence = 0.9, pairs = {pairs} }}\n' + path.read_text())
    with pytest.raises(BundleError, match=r"bundle.toml: reach: pairs.* must be .*; restore the bundle"):
        Bundle(mine.directory)
