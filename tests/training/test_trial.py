"""The trial of engines: the same held-out questions for all, within the time, and the best by what matters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle, load_bundle
from cfx.bundles.entries import TrialEntry
from cfx.counterfactuals.curve import Curve
from cfx.counterfactuals.engine import Engine
from cfx.counterfactuals.engines.projection import SharpShooter
from cfx.counterfactuals.problem import ModelError, Problem
from cfx.images.sets.labelled import Labelled
from cfx.images.sets.split import SUBSETS, Split
from cfx.metrics.catalogue import BY_NAME
from cfx.metrics.evaluate import score
from cfx.metrics.scene import Scene
from cfx.training.parts import parts_of
from cfx.training.reach import try_pairs
from cfx.training.recipe import RECIPES
from cfx.training.trial import MEASURED, QUESTIONS, ROUNDS, best_of, is_whole, questions, try_engines


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, kw_only=True)
class Same(Engine):
    """Changes nothing, and takes its time for each question."""

    name: ClassVar[str] = "same"
    summary: ClassVar[str] = "nothing"
    paper: ClassVar[str] = "none"
    gradients: ClassVar[bool] = False

    clock: Clock
    costs: float = 1.0
    fails: bool = False

    def find(self, problem: Problem) -> Curve:
        if self.fails:
            raise ModelError("no")
        self.clock.now += self.costs * len(problem)
        return Curve(lambda t, rows: problem.images[rows], bisections=0)


class Slow(Same):
    """As an engine that follows gradients."""

    gradients: ClassVar[bool] = True


def test_real_digits(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    engines = {"projection": SharpShooter.from_bundle(bundle), "same": Same(clock=Clock())}
    trial = try_engines(bundle, engines, digits[0][:12])
    assert trial["projection"].questions == trial["same"].questions == 12
    assert trial["projection"].valid >= 0.9 and (trial["projection"].judges_agree or 0) >= 0.9
    assert trial["same"].valid == 0 and trial["same"].judges_agree == 0
    assert best_of(trial) == "projection"


def test_nothing_is_chosen_by_the_referee(digits: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch):
    """Neither trial nor verdict: both are the same with a referee that fails when it is asked."""
    bundle = load_bundle("mnist")
    engine, referee = SharpShooter.from_bundle(bundle), bundle.judges.part("referee")

    def refuse(*images: Tensor) -> Tensor:
        raise AssertionError("the referee was asked")

    for name in ("forward", "embed"):
        monkeypatch.setattr(referee, name, refuse, raising=False)
    with pytest.raises(AssertionError, match="referee was asked"):
        score(Scene.of(bundle, digits[0][:2], digits[0][:2], digits[1][:2]))
    assert all("referee" not in BY_NAME[name].needs for name in MEASURED)
    assert try_engines(bundle, {"projection": engine}, digits[0][:4])["projection"].questions == 4
    assert try_pairs(bundle, engine, digits[0][:4]).pairs
    parts = [part for part in parts_of(RECIPES["mnist"]) if part.makes != ("referee",)]
    assert not any("referee" in part.needs for part in parts)
    matching = next(part for part in parts if part.makes == ("matching",))
    split = Split(**dict.fromkeys(SUBSETS, Labelled((digits[0][:40] * 255).byte(), digits[1][:40])))
    context: Any = SimpleNamespace(present=range(10), bundle=bundle, split=split)
    context.probabilities_of = lambda images: bundle.classifier(images).softmax(dim=1)
    measured = matching.measure(context, "matching", bundle.part("matching"))
    assert matching.verdict(context, "matching", measured)


def test_no_code_but_its_own_names_the_referee():
    """No choice can depend on it: it is spelt where it is trained, listed and shown."""
    root = Path(__file__).parents[2]
    rooms = ("counterfactuals", "answers", "training", "intake", "generative", "classifiers", "runs", "bundles", "cli")
    naming = {
        str(path.relative_to(root))
        for room in rooms
        for path in (root / room).rglob("*.py")
        if "referee" in path.read_text(encoding="utf-8").lower()
    }
    assert naming == {
        "bundles/known_parts.py",
        "cli/terminal/answers.py",
        "training/parts/__init__.py",
        "training/parts/referee.py",
        "training/recipe.py",
    }


def test_a_trial_is_whole_when_every_engine_was_asked_all_questions():
    entry = TrialEntry(questions=QUESTIONS, valid=1.0, judges_agree=1.0, looks_real=1.0, seconds=0.1)
    whole = {"leap": entry, "swap": entry}
    assert is_whole(whole, ["leap", "swap"], 60) and is_whole(whole, ["leap"], 60)
    assert not is_whole(whole, ["leap", "graft"], 60), "an engine is new"
    short = {**whole, "swap": replace(entry, questions=12)}
    assert not is_whole(short, ["leap", "swap"], 60), "the time was short"
    assert is_whole(short, ["leap", "swap"], 12), "there are no more images"


def test_targets_are_others_than_what_is_seen(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    batch = questions(bundle, digits[0][:50])
    targets = batch.targets
    with torch.inference_mode():
        assert bool((bundle.classifier(batch.images).argmax(dim=1) != targets).all())
    assert len(targets.unique()) > 5


@pytest.mark.parametrize(
    ("seconds", "asked"), [(None, QUESTIONS), (1000.0, QUESTIONS), (19.0, ROUNDS[0] + ROUNDS[1]), (0.5, ROUNDS[0])]
)
def test_no_more_rounds_than_there_is_time_for(
    bundle: Bundle, digits: tuple[Tensor, Tensor], seconds: float | None, asked: int
):
    clock = Clock()
    trial = try_engines(bundle, {"same": Same(clock=clock)}, digits[0], seconds=seconds, clock=clock)
    assert trial["same"].questions == asked and 0 <= trial["same"].seconds < 1, "the search's own, by the real clock"


def test_without_time_there_is_no_trial_and_an_engine_that_fails_is_left_out(
    bundle: Bundle, digits: tuple[Tensor, Tensor]
):
    clock = Clock()
    engines = {"same": Same(clock=clock), "fails": Same(clock=clock, fails=True)}
    assert try_engines(bundle, engines, digits[0], seconds=-1.0, clock=clock) == {}
    assert best_of({}) is None
    assert list(try_engines(bundle, engines, digits[0][:4])) == ["same"]


def test_an_engine_for_which_no_time_is_left_is_not_tried(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    clock = Clock()
    engines = {"slow": Slow(clock=clock), "same": Same(clock=clock)}
    trial = try_engines(bundle, engines, digits[0], seconds=1.0, clock=clock)
    assert list(trial) == ["same"], "the one without gradients comes first"


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ((1.0, 0.5, 0.5, 9.0), (0.9, 1.0, 1.0, 0.1)),
        ((1.0, 0.9, 0.1, 9.0), (1.0, 0.7, 1.0, 0.1)),
        ((0.98, 0.98, 0.3, 9.0), (1.0, 1.0, 0.0, 0.1)),  # one question less is chance
        ((1.0, 0.9, 0.5, 9.0), (1.0, 0.9, 0.4, 0.1)),
        ((1.0, 0.9, 0.5, 0.1), (1.0, 0.9, 0.5, 9.0)),
        ((1.0, 0.9, 0.5, 9.0), (1.0, None, None, 0.1)),
    ],
)
def test_valid_first_then_judges_then_realism(better: tuple[float, ...], worse: tuple[float | None, ...]):
    def entry(figures: tuple[float | None, ...]) -> TrialEntry:
        valid, agree, real, seconds = figures
        return TrialEntry(questions=50, valid=valid or 0.0, judges_agree=agree, looks_real=real, seconds=seconds or 0.0)

    assert best_of({"b": entry(worse), "a": entry(better)}) == "a"
