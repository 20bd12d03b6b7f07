"""The laws of every trained part: it loads, is measured and judged, resumes, and voids exactly what it invalidates."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cfx.bundles.bundle import Bundle
from cfx.bundles.entries import Reached, ReachEntry, TrialEntry
from cfx.bundles.known_parts import BY_NAME, JUDGES
from cfx.counterfactuals.registry import engine_names, load_engine
from cfx.errors import BundleError
from cfx.images.sets.labelled import Labelled
from cfx.images.sets.split import Split
from cfx.training.part import Part
from cfx.training.parts import PARTS, parts_of, wanted_parts
from cfx.training.parts.matching import mean_confident_output
from cfx.training.recipe import RECIPES, Recipe
from cfx.training.session import TrainingSession, is_finished

pytestmark = pytest.mark.slow

NAMES = [kind.makes[0] for kind in PARTS]


class Killed(Exception):
    pass


@pytest.fixture
def directory(made: Path, tmp_path: Path) -> Path:
    """A copy of the finished bundle."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def part_of(recipe: Recipe, name: str) -> Part:
    return next(part for part in parts_of(recipe) if name in part.makes)


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_as_what_it_says(made: Path, name: str):
    bundle = Bundle(made)
    model = bundle.part(name)
    assert type(model).__name__ == bundle.parts[name].architecture
    assert bundle.part(name) is model, "it is loaded once"
    assert bundle.part(name, type(model)) is model
    with pytest.raises(BundleError, match=f"part '{name}' is a {type(model).__name__}, but a Linear is needed"):
        bundle.part(name, nn.Linear)


@pytest.mark.parametrize("kind", PARTS)
def test_the_trial_of_engines_is_repeated_for_what_it_depends_on(kind: type[Part]):
    tried = [load_engine(name) for name in engine_names()]
    tried = [engine for engine in tried if engine.candidate and not engine.any_class]
    seen = (
        {"classifier"} | (JUDGES - {"referee"}) | {name for engine in tried for name in (*engine.needs, *engine.uses)}
    )
    assert kind.in_trial == (not seen.isdisjoint(kind.makes))


@pytest.mark.parametrize(("name", "stays"), [("donors", False), ("spectral_classifier", True)])
def test_a_trial_is_void_when_what_it_depends_on_is_remade(
    tiny: Recipe, split: Split[Labelled], directory: Path, name: str, stays: bool
):
    session = TrainingSession(tiny, split, directory, command="cfx train")
    trial = {"swap": TrialEntry(questions=50, valid=0.98, judges_agree=0.9, looks_real=0.5, seconds=0.1)}
    reach = ReachEntry(engine="swap", confidence=0.9, pairs={(4, 9): Reached(reached=5, asked=5)})
    session.bundle.update(trial=trial, reach=reach)
    session.make(only=[name])
    file = Bundle(directory).file
    assert (file.trial, file.reach) == ((trial, reach) if stays else ({}, None))


@pytest.mark.parametrize("name", NAMES)
def test_engines_see_it_or_judges_are_it(made: Path, name: str):
    bundle = Bundle(made)
    if name in JUDGES:
        assert bundle.judges.has(name) and not bundle.models.has(name)
        with pytest.raises(BundleError, match=f"part '{name}' is a judge, and no engine may see a judge"):
            bundle.models.part(name)
    else:
        assert bundle.models.has(name) and not bundle.judges.has(name)
        assert bundle.models.part(name) is bundle.part(name)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_measured_is_finite_and_a_verdict_says_why(made: Path, tiny: Recipe, name: str):
    entry, part = Bundle(made).parts[name], part_of(tiny, name)
    assert bool(entry.measured) == (type(part).measure is not Part.measure)
    assert all(torch.isfinite(torch.tensor(value)) for value in entry.measured.values())
    judged = type(part).verdict is not Part.verdict
    assert (entry.verdict in ("good", "weak", "useless")) == judged
    assert judged == (entry.because is not None and any(figure.isdigit() for figure in entry.because))


@pytest.mark.parametrize("name", NAMES)
def test_it_voids_exactly_what_it_invalidates(
    directory: Path, tiny: Recipe, split: Split[Labelled], name: str, monkeypatch: pytest.MonkeyPatch
):
    """Killed before the invalid parts are made anew, the bundle is without them, and with everything else."""
    session = TrainingSession(tiny, split, directory, command="cfx train")
    before, part = dict(session.bundle.parts), part_of(tiny, name)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        for other in part.invalidates:
            patched.setattr(type(part_of(tiny, other)), "make", killed)
        if part.invalidates:
            with pytest.raises(Killed):
                session.make(only=[name])
        else:
            session.make(only=[name])
    after = Bundle(directory).parts
    assert set(before) - set(after) == set(part.invalidates)
    assert all(after[other] == before[other] for other in after if other != name)
    assert after[name].sha256 == before[name].sha256, "made anew of the same images it is the same"


@pytest.mark.parametrize("name", [name for name in NAMES if part_of(RECIPES["mnist"], name).fits(range(10))])
def test_killed_in_the_middle_it_resumes_to_the_same_weights(
    directory: Path, tiny: Recipe, split: Split[Labelled], name: str, told: Any
):
    labels = list(part_of(tiny, name).fits(range(10)))
    before = Bundle(directory).parts[name].sha256

    def kill(label: str, done: int, total: int | None, losses: dict[str, float]) -> None:
        if label == labels[-1]:
            raise Killed

    with pytest.raises(Killed):
        TrainingSession(tiny, split, directory, command="cfx train", progress=told(kill)).make(only=[name])
    assert not is_finished(directory), "there is unfinished work"
    TrainingSession(tiny, split, directory, command="cfx train").make(only=[name])
    assert Bundle(directory).parts[name].sha256 == before
    assert is_finished(directory)


def test_every_part_is_known_needs_what_stands_before_it_and_no_two_trainings_share_a_label():
    assert set(NAMES) == set(BY_NAME), "the list that loads and the list that orders"
    for joint in (False, True):
        made: set[str] = set()
        labels: list[str] = []
        for part in parts_of(RECIPES["mnist"], joint=joint):
            assert set(part.needs) <= made, part.makes
            made |= {*part.makes}
            labels += part.fits(range(10))
        assert made == set(BY_NAME) and len(labels) == len(set(labels))


def test_recipes_set_fields_of_known_parts():
    for recipe in RECIPES.values():
        assert set(recipe.parts) <= set(NAMES)
        assert len(parts_of(recipe)) == len(PARTS)


def test_a_bundle_without_a_list_of_wanted_parts_stays_finished_when_cfx_gains_one(
    directory: Path, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
):
    assert Bundle(directory).file.wanted == (*wanted_parts(), *tiny.also)
    Bundle(directory).update(wanted=None)  # as bundles were before
    assert is_finished(directory)

    class Later(type(part_of(RECIPES["mnist"], "reference"))):
        makes = ("later",)
        optional = True

    monkeypatch.setattr("cfx.training.parts.PARTS", (*PARTS, Later))
    assert is_finished(directory)
    Bundle(directory).update(wanted=(*wanted_parts(), "later"))
    assert not is_finished(directory)


def test_typical_probabilities_of_classes_with_few_images_and_none():
    """One image of a class is its own mean; a class that the classifier never sees stays one-hot."""
    probabilities = torch.tensor([[0.9, 0.1, 0.0]] * 50 + [[0.3, 0.7, 0.0]])
    typical = mean_confident_output(probabilities, present=[0, 1, 2])
    assert torch.allclose(typical, torch.tensor([[0.9, 0.1, 0.0], [0.3, 0.7, 0.0], [0.0, 0.0, 1.0]]))
