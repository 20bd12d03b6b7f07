"""The recipe, followed on a few real digits: whole, interrupted, in part, and with the joint VCNet."""

from __future__ import annotations

import dataclasses
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from cfx.bundles.known_parts import BY_NAME
from cfx.counterfactuals.registry import load_engine
from cfx.errors import DataError, UsageError
from cfx.files import locked
from cfx.images.sets.labelled import Labelled
from cfx.images.sets.split import Split
from cfx.training.opening import open_session
from cfx.training.parts import wanted_parts
from cfx.training.parts.reference import ReferencePart
from cfx.training.recipe import Recipe, find_recipe
from cfx.training.session import TrainingSession


class Killed(Exception):
    pass


def digests(directory: Path) -> dict[str, str]:
    description = tomllib.loads((directory / "bundle.toml").read_text())
    return {name: entry["sha256"] for name, entry in description["parts"].items()}


@pytest.mark.slow
def test_every_part_is_made_measured_and_loads(tiny: Recipe, made: Path, split: Split[Labelled]):
    bundle = TrainingSession(tiny, split, made, command="cfx train").bundle
    bundle.verify()
    assert set(bundle.parts) == set(BY_NAME) == {*wanted_parts(), *tiny.also}
    assert not (made / "checkpoints").exists()
    measured = bundle.parts["flow"].measured
    assert measured["round_trip_error"] < 1e-3  # of one epoch on 130 digits; the shipped flow's is tested to 1e-4
    assert 0 < bundle.parts["classifier"].measured["test_accuracy"] <= 1
    images = split.test.floats(slice(0, 2))
    for name in ("latent", "diffeo", "vcnet", "projection"):
        engine = load_engine(name).from_bundle(bundle)
        assert len(engine.search(bundle.classifier, images, torch.tensor([1, 2]))) == 2


@pytest.mark.slow
def test_killed_and_resumed_it_makes_the_same_bundle(
    tiny: Recipe, made: Path, split: Split[Labelled], tmp_path: Path, told: Any
):
    def kill(part: str, done: int, total: int | None, losses: dict[str, float]) -> None:
        if part == "conditional_vae":
            raise Killed

    with pytest.raises(Killed):
        TrainingSession(tiny, split, tmp_path, command="cfx train", progress=told(kill)).make()
    assert "conditional_vae" not in digests(tmp_path)
    before = (tmp_path / "classifier.safetensors").stat().st_mtime_ns
    TrainingSession(tiny, split, tmp_path, command="cfx train").make()
    assert (tmp_path / "classifier.safetensors").stat().st_mtime_ns == before
    assert digests(tmp_path) == digests(made)


@pytest.mark.slow
def test_only_remakes_one_part_and_leaves_the_others(tiny: Recipe, split: Split[Labelled], tmp_path: Path):
    session = TrainingSession(tiny, split, tmp_path, command="cfx train")
    session.make(only=["judge"])
    assert set(session.bundle.parts) == {"judge"}
    session.make(only=["reference"])
    assert set(session.bundle.parts) == {"judge", "reference"}


@pytest.mark.slow
def test_what_holds_the_results_of_a_part_goes_and_comes_with_it(
    tiny: Recipe, split: Split[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    session = TrainingSession(tiny, split, tmp_path, command="cfx train")
    session.make(only=["judge"])
    session.make(only=["reference"])

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(ReferencePart, "make", killed)
        session.make(only=["judge"])
    assert set(session.bundle.parts) == {"judge"}, "features of a judge that is no more are worth nothing"
    session.make(only=["judge"])
    assert set(session.bundle.parts) == {"judge", "reference"}, "the same command makes up for what was interrupted"


@pytest.mark.slow
def test_the_joint_mode_trains_predictor_and_generator_together(tiny: Recipe, split: Split[Labelled], tmp_path: Path):
    session = TrainingSession(tiny, split, tmp_path, command="cfx train", joint=True)
    session.make(only=["classifier", "judge"])
    torch.manual_seed(0)
    untouched = type(session.bundle.classifier)()
    session.make(only=["conditional_vae"])
    bundle = session.bundle
    assert any(
        not torch.allclose(a, b, atol=1e-3)
        for a, b in zip(bundle.classifier.parameters(), untouched.parameters(), strict=True)
    )
    found = (
        load_engine("vcnet")
        .from_bundle(bundle)
        .search(bundle.classifier, split.test.floats(slice(0, 2)), torch.tensor([1, 2]))
    )
    assert torch.isfinite(found.confidence).all()


def test_an_unknown_recipe_or_part_names_its_neighbour(tiny: Recipe, split: Split[Labelled], tmp_path: Path):
    with pytest.raises(UsageError, match="unknown recipe 'minst': did you mean 'mnist'"):
        find_recipe("minst")
    with pytest.raises(UsageError, match="unknown part 'flaw': did you mean 'flow'"):
        TrainingSession(tiny, split, tmp_path, command="cfx train").make(only=["flaw"])


def test_a_missing_data_set_says_where_it_was_looked_for(tmp_path: Path):
    with pytest.raises(DataError, match=r"no MNIST there; expected the files that torchvision keeps in"):
        open_session("mnist", tmp_path, tmp_path / "out")


def test_a_bundle_of_another_recipe_is_not_mixed(tiny: Recipe, split: Split[Labelled], made: Path, tmp_path: Path):
    other = dataclasses.replace(tiny, name="fashion-mnist")
    with pytest.raises(UsageError, match="holds the bundle 'mnist', not one of the recipe 'fashion-mnist'"):
        TrainingSession(other, split, made, command="cfx train").make()


def test_two_sessions_at_once_are_refused(tiny: Recipe, split: Split[Labelled], tmp_path: Path):
    session = TrainingSession(tiny, split, tmp_path, command="cfx train")
    (tmp_path / "checkpoints").mkdir()
    with locked(tmp_path / "checkpoints" / ".lock"), pytest.raises(UsageError, match="another process is using"):
        session.make(only=["judge"])


@pytest.mark.slow
def test_more_goes_on_with_the_weak_parts_from_their_weights(tiny: Recipe, split: Split[Labelled], tmp_path: Path):
    first = TrainingSession(tiny, split, tmp_path, command="cfx train", budget=2.0)
    first.make(only=["classifier", "judge"])
    entry = first.bundle.parts["judge"]
    assert entry.trained is not None and entry.trained.steps >= 1
    assert entry.verdict in ("weak", "useless")
    before = first.bundle.part("judge").state_dict()

    session = TrainingSession(tiny, split, tmp_path, command="cfx train", budget=2.0)
    begun: dict[str, dict[str, torch.Tensor]] = {}
    original = session.context.begun

    def watched(name: str, model: torch.nn.Module) -> torch.nn.Module:
        begun[name] = {key: value.clone() for key, value in original(name, model).state_dict().items()}
        return model

    session.context.begun = watched  # type: ignore[method-assign]
    session.make(only=["judge"], more=True)
    assert list(begun) == ["judge"], "of the parts that are named"
    assert all(torch.equal(value, begun["judge"][key]) for key, value in before.items())
    assert not (tmp_path / "checkpoints" / "spent.json").exists(), "the command is done"


@pytest.mark.slow
def test_more_of_nothing_weak_is_nothing(tiny: Recipe, made: Path, split: Split[Labelled], tmp_path: Path):
    shutil.copytree(made, tmp_path / "b")
    session = TrainingSession(tiny, split, tmp_path / "b", command="cfx train", budget=2.0)
    good = {name: dataclasses.replace(entry, verdict="good") for name, entry in session.bundle.parts.items()}
    session.bundle.update(parts=good)
    before = digests(tmp_path / "b")
    session.make(more=True)
    assert digests(tmp_path / "b") == before
