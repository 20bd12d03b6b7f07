"""Bundles: what is shipped holds what it says, and a damaged one is refused with a sentence."""

from __future__ import annotations

import pickle
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cfx.bundles.bundle import Bundle, load_bundle
from cfx.bundles.file import as_document
from cfx.bundles.finding import find_bundle, shipped
from cfx.bundles.known_parts import BY_NAME, build
from cfx.counterfactuals.registry import load_engine
from cfx.errors import BundleError, UsageError
from cfx.images.reading import read_image
from cfx.images.sets.labelled import Labelled
from cfx.metrics.evaluate import evaluate
from cfx.training.measures import accuracy
from cfx.training.parts import wanted_parts
from cfx.training.recipe import RECIPES

CLOTHES = Path(__file__).parents[2] / "examples" / "fashion"


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the shipped bundle that a test may damage."""
    return Path(shutil.copytree(bundle.directory, tmp_path / "copy"))


def rewrite(directory: Path, old: str, new: str) -> None:
    text = (directory / "bundle.toml").read_text()
    assert old in text
    (directory / "bundle.toml").write_text(text.replace(old, new))


def redigest(directory: Path, part: str) -> None:
    """Make bundle.toml's checksum fit the file, so that a later check is reached."""
    import hashlib

    entry = tomllib.loads((directory / "bundle.toml").read_text())["parts"][part]
    digest = hashlib.sha256((directory / entry["file"]).read_bytes()).hexdigest()
    rewrite(directory, entry["sha256"], digest)


def test_the_shipped_bundle_is_whole_and_small(bundle: Bundle):
    bundle.verify()
    assert set(bundle.parts) == set(BY_NAME) - {"spectral_classifier"}, "trained on request"
    assert sum(path.stat().st_size for path in bundle.directory.iterdir()) <= 25_000_000
    assert shipped()["mnist"] == bundle.directory
    assert bundle.parts["classifier"].measured["test_accuracy"] >= 0.993
    assert bundle.parts["judge"].measured["test_accuracy"] >= 0.990


def test_parts_are_loaded_once_frozen_and_in_eval_mode(bundle: Bundle):
    classifier = bundle.classifier
    assert bundle.classifier is classifier
    assert not classifier.training
    assert not any(p.requires_grad for p in classifier.parameters())


def test_a_flipped_byte_is_noticed(copy: Path):
    path = copy / "classifier.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"'classifier' \(classifier\.safetensors\).*sha256 differs"):
        _ = Bundle(copy).classifier


def test_a_missing_file_is_named(copy: Path):
    (copy / "vae.safetensors").unlink()
    with pytest.raises(BundleError, match=r"vae\.safetensors\) is missing; restore the file or remake it"):
        Bundle(copy).part("vae")


def test_a_missing_part_says_what_makes_it(copy: Path):
    with pytest.raises(BundleError, match=r"has no part 'flow2'"):
        Bundle(copy).part("flow2")


def test_a_wrong_shape_is_noticed(copy: Path):
    rewrite(copy, '"width": 16' if '"width": 16' in (copy / "bundle.toml").read_text() else "width = 16", "width = 8")
    with pytest.raises(BundleError, match=r"does not match ConvNet: .*size mismatch"):
        _ = Bundle(copy).classifier


def test_a_missing_tensor_is_noticed(copy: Path):
    save_file({"head.bias": torch.zeros(10)}, copy / "classifier.safetensors")
    redigest(copy, "classifier")
    with pytest.raises(BundleError, match=r"does not match ConvNet"):
        _ = Bundle(copy).classifier


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_is_refused_before_anything_else(copy: Path, kind: str):
    path = copy / "classifier.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"head.bias": [0.0]}))
    else:
        torch.save({"head.bias": torch.zeros(10)}, path)
    redigest(copy, "classifier")
    with pytest.raises(BundleError, match=r"is a pickle, which could run code; convert it with"):
        _ = Bundle(copy).classifier


def test_a_file_that_is_no_safetensors_is_refused(copy: Path):
    (copy / "classifier.safetensors").write_bytes(b"just some text, long enough to have a header")
    redigest(copy, "classifier")
    with pytest.raises(BundleError, match="is not a safetensors file"):
        _ = Bundle(copy).classifier


def test_nothing_is_imported_on_a_bundles_word():
    with pytest.raises(BundleError, match="unknown architecture 'os\\.system'"):
        build("os.system", {})
    with pytest.raises(BundleError, match=r"architecture ConvNet: .*unexpected keyword argument 'evil'"):
        build("ConvNet", {"evil": 1})


def test_a_directory_without_description_is_refused(tmp_path: Path):
    with pytest.raises(BundleError, match=r"no bundle\.toml there"):
        load_bundle(str(tmp_path))


def test_a_damaged_description_is_refused(copy: Path):
    (copy / "bundle.toml").write_text("schema = [")
    with pytest.raises(BundleError, match=r"bundle\.toml is damaged"):
        Bundle(copy)
    (copy / "bundle.toml").write_text("schema = 99")
    with pytest.raises(BundleError, match="schema 99, this cfx reads schema 1"):
        Bundle(copy)


def test_an_unknown_bundle_names_its_neighbour():
    with pytest.raises(UsageError, match="unknown bundle 'mnits': did you mean 'mnist'"):
        load_bundle("mnits")


def test_every_value_that_is_written_can_be_read_again():
    values = {"a": [1, 2.5, 'x \x7f " y'], "b": {"c": True, "d": [1]}, "e": float("inf"), "f": -float("inf")}
    read = tomllib.loads(as_document({"schema": 1, **values, "nothing": float("nan")}))
    assert {name: read[name] for name in values} == values
    assert read["nothing"] != read["nothing"]


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_shipped_bundles_are_whole_and_small(name: str):
    directory = shipped()[name]
    Bundle(directory).verify()
    bundle = Bundle(directory)
    assert set(bundle.parts) == set(wanted_parts()) | set(RECIPES[name].also) == set(bundle.file.wanted)
    assert sum(path.stat().st_size for path in directory.iterdir()) <= 25_000_000


@pytest.mark.slow
def test_the_classifier_of_fashion_is_as_good_as_its_bundle_says(read_set: Callable[[str, str], Labelled]):
    bundle = load_bundle("fashion-mnist")
    measured = bundle.parts["classifier"].measured["test_accuracy"]
    assert measured >= 0.925
    test = read_set("fashion-mnist", "test")
    assert accuracy(bundle.classifier, test) == pytest.approx(measured, abs=0.001)


@pytest.mark.parametrize("name", ["latent", "projection"])
def test_clothes_become_other_clothes_that_judges_recognise(name: str):
    bundle = load_bundle("fashion-mnist")
    images = torch.stack([read_image(path, bundle.shape).pixels for path in sorted(CLOTHES.glob("*.png"))])
    seen = bundle.classifier(images).argmax(dim=1)
    targets = (seen + 2) % 10
    found = load_engine(name).from_bundle(bundle).search(bundle.classifier, images, targets)
    assert found.valid.float().mean() >= 0.9
    agrees = evaluate(bundle, images, targets, found).columns["judge_agrees"]
    assert agrees is not None and agrees.float().mean() >= 0.8


def test_a_directory_with_the_name_of_a_shipped_bundle_is_meant_if_a_bundle_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert find_bundle("mnist") == shipped()["mnist"]
    (tmp_path / "mnist" / "bundle.toml").write_text("schema = 1\n")
    assert find_bundle("mnist") == Path("mnist")
    (tmp_path / "mine").mkdir()
    assert find_bundle("mine") == Path("mine")
