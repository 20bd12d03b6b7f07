"""`cfx explain` about a classifier without a bundle: what needs nothing but the classifier, and what is said of it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import cfx
from cfx.bundles.bundle import Bundle
from cfx.errors import UsageError
from cfx.images.writing import write_png

Run = Callable[..., Any]  # a command line -> conftest's Result

FACTORY = """
import cfx
import torch
def make():
    return cfx.load_bundle("mnist").part("classifier")
def wide():
    inner = make()
    class Wide(torch.nn.Module):
        def forward(self, images):
            logits = inner(torch.nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 28))
            return torch.cat([logits, logits.new_full((len(logits), 990), -9.0)], dim=1)
    return Wide()
def darker():
    inner = make()
    class Darker(torch.nn.Module):
        def forward(self, images):
            return inner((images * 0.5 + 0.5).clamp(0, 1))
    return Darker()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a module of classifiers."""
    (tmp_path / "alone_models.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "alone_models", raising=False)
    return tmp_path


@pytest.fixture
def folder(here: Path, digits: tuple[Tensor, Tensor]) -> Path:
    """200 digits, a folder a class, named in words."""
    for index, (image, label) in enumerate(zip(*digits, strict=True)):
        if index % 2 == 0:
            directory = here / "digits" / f"digit {int(label)}"
            directory.mkdir(parents=True, exist_ok=True)
            write_png(directory / f"{index}.png", image)
    return here / "digits"


FOUR = Path(__file__).parents[2] / "examples" / "four.png"


def test_one_photo_and_one_classifier(run: Run, here: Path):
    found = run(
        "explain", FOUR, "--classifier", "alone_models:make", "--target", "9", "--mean", "0", "--format", "json"
    )
    assert found.code == 0, found.stderr
    (record,) = found.records
    assert record["valid"] and record["target"] == "9" and record["engine"] == "pixel"
    assert record["factual"]["class"] == "4" and record["counterfactual"]["class"] == "9"
    assert record["bundle"]["name"] == "alone_models:make" and len(record["bundle"]["digest"]) == 64
    assert any("a classifier without a bundle: nothing measures whether" in note for note in record["notes"])
    assert any("pixel finds adversarial noise" in note for note in record["notes"])
    assert record["metrics"]["judge_agrees"] is None
    assert "`cfx init` and `cfx train` make a bundle that has it" in record["missing"]["judge_agrees"]
    assert "for realistic answers make a bundle: `cfx init my-bundle --classifier alone_models:make" in found.stderr
    assert not (here / "bundle.toml").exists()


def test_the_same_classifier_has_the_same_digest(run: Run, here: Path):
    digests = []
    for mean in ("0", "0", "0.1"):
        asked = ("--classifier", "alone_models:make", "--target", "9", "--mean", mean, "--format", "json")
        digests.append(run("explain", FOUR, *asked).records[0]["bundle"]["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_labelled_images_tell_normalisation_and_names(run: Run, folder: Path):
    asked = ("--classifier", "alone_models:darker", "--images", folder, "--target", "digit 9")
    found = run("explain", FOUR, *asked)
    assert found.code == 0, found.stderr
    assert "normalisation '-1..1': used, because it fits the labels better than normalisation 'none'" in found.stderr
    assert "alone_models:darker: right on" in found.stderr and "labelled images" in found.stderr
    assert "the model now sees a digit 9" in found.stdout


def test_a_declared_normalisation_is_taken_for_granted(run: Run, folder: Path):
    declared = ("--mean", "0.5", "--std", "0.5", "--input-size", "28x28")
    asked = ("--classifier", "alone_models:darker", "--images", folder, "--target", "digit 9")
    found = run("explain", FOUR, *asked, *declared)
    assert found.code == 0, found.stderr
    assert "normalisation" not in found.stderr and "labelled images" in found.stderr


def test_every_engine_that_needs_no_parts(run: Run, here: Path):
    found = run("explain", FOUR, "--classifier", "alone_models:make", "--engine", "all", "--target", "9", "--mean", "0")
    assert found.code == 0 and "engine vcnet is left out" in found.stderr
    refused = run("explain", FOUR, "--classifier", "alone_models:make", "--engine", "vcnet", "--mean", "0", "-q")
    assert refused.code == 2
    assert "has no part 'conditional_vae'" in refused.error and "make a bundle that has it" in refused.error


def test_a_thousand_classes_have_the_names_of_imagenet(run: Run, here: Path, tmp_path: Path):
    photo = tmp_path / "photo.png"
    Image.fromarray(np.asarray(Image.open(FOUR).resize((280, 210)).convert("RGB"))).save(photo)
    options = ("--classifier", "alone_models:wide", "--mean", "0", "--format", "json")
    named = run("explain", photo, *options, "--classes", "imagenet", "--target", "goldfish")
    assert named.code in (0, 1), named.stderr
    assert named.records[0]["target"] == "goldfish" and named.records[0]["factual"]["class"] == "hammerhead"
    numbered = run("explain", photo, *options, "--target", "1")
    assert "1000 classes have no names; --classes imagenet names them" in numbered.stderr
    assert numbered.records[0]["target"] == "1"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--classifier", "alone_models:make", "--bundle", "mnist"],
            "bundle mnist: unknown classifier 'alone_models:make'",
        ),
        (["--mean", "0.5"], "--mean: describes a classifier without a bundle; add --classifier"),
        (["--input-size", "28"], "--input-size: describes a classifier without a bundle"),
        (["--images", "digits"], "--images: describes a classifier without a bundle"),
        (["--classifier", "alone_models:make", "--among-mine"], "--among-mine: needs --images DIR"),
        (["--classifier", "alone_models:none"], "alone_models has no 'none'"),
        (["--classifier", "missing.pt2"], "missing.pt2: there is no such file"),
        (["--classifier", "alone_models:make", "--images", "missing"], "missing: no such directory or file"),
        (["--classifier", "alone_models:make", "--output", "probabilities"], "--output probabilities: not what"),
        (["--classifier", "alone_models:make", "--target", "10"], "unknown class '10'"),
        (["--classifier", "alone_models:make", "--classes", "missing.txt"], "missing.txt: could not be read"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(run: Run, here: Path, options: list[str], sentence: str):
    found = run("explain", FOUR, "-q", *options)
    assert found.code == 2 and sentence in found.error
    assert not (here / "cfx-out").exists()


def test_an_unreadable_photo_is_one_sentence(run: Run, here: Path):
    (here / "text.png").write_text("no picture")
    found = run("explain", "text.png", "--classifier", "alone_models:make", "-q")
    assert found.code == 2 and "text.png" in found.error


# From Python.


def test_a_module_in_memory_is_enough(bundle: Bundle):
    model = nn.Sequential(nn.Dropout(0.5), deepcopy(bundle.part("classifier"))).train()
    modes = [module.training for module in model.modules()]
    names = [f"digit {place}" for place in range(10)]
    (answer,) = cfx.explain(FOUR, classifier=model, classes=names, target="digit 9")
    assert answer.valid and answer.factual.name == "digit 4" and answer.counterfactual.name == "digit 9"
    assert [module.training for module in model.modules()] == modes
    assert all(not module._forward_hooks for module in model.modules())
    json.dumps(answer.as_json())
    assert answer.panel().width > 100


def test_donors_tell_names_and_normalisation(folder: Path, bundle: Bundle):
    inner = bundle.part("classifier")

    class Darker(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return inner((images * 0.5 + 0.5).clamp(0, 1))

    (answer,) = cfx.explain(FOUR, classifier=Darker(), donors=folder, target="digit 9")
    assert answer.valid and answer.factual.name == "digit 4"
    (stated,) = cfx.explain(FOUR, classifier=Darker(), preprocessing={"mean": 0.5, "std": 0.5}, target=9)
    assert stated.valid and stated.factual.name == "4"


def test_a_batch_keeps_its_size_and_an_iterator_is_read_once(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images = digits[0][digits[1] != 9][:3]
    classifier = bundle.part("classifier")
    of_batch = list(cfx.explain(images, classifier=classifier, target=9))
    of_iterator = list(cfx.explain(iter(images), classifier=classifier, target=9))
    assert len(of_batch) == len(of_iterator) == 3
    for first, second in zip(of_batch, of_iterator, strict=True):
        assert torch.equal(first.pictures.counterfactual, second.pictures.counterfactual)


def test_wrong_uses_from_python_are_one_sentence(bundle: Bundle, folder: Path):
    classifier = bundle.part("classifier")
    with pytest.raises(UsageError, match="a bundle has a classifier of its own; give one of the two"):
        cfx.explain(FOUR, classifier=classifier, bundle="mnist")
    with pytest.raises(UsageError, match="unknown setting of pixel 'steps': did you mean 'max_steps'"):
        cfx.explain(FOUR, classifier=classifier, engine="pixel", settings={"steps": 3})
    with pytest.raises(UsageError, match="donors: describes a classifier without a bundle"):
        cfx.explain(FOUR, donors=folder)
    with pytest.raises(UsageError, match="--classes names 2 classes and the classifier ConvNet has 10"):
        cfx.explain(FOUR, classifier=classifier, classes=["a", "b"])
    with pytest.raises(UsageError, match="images: there are none"):
        cfx.explain([], classifier=classifier)
    with pytest.raises(UsageError, match="classifier: is a int"):
        cfx.explain(FOUR, classifier=7)  # pyright: ignore[reportArgumentType]


def test_what_looks_wrong_is_a_warning(folder: Path):
    torch.manual_seed(4)
    untrained = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(cfx.explain(FOUR, classifier=untrained, donors=folder))
    assert any("no better than always predicting" in str(warning.message) for warning in caught)


# Real images.


def test_images_are_donors_and_the_record_names_them(run: Run, folder: Path):
    asked = ("--classifier", "alone_models:make", "--images", folder, "--target", "digit 9", "--format", "json")
    found = run("explain", FOUR, *asked)
    assert found.code == 0, found.stderr
    (record,) = found.records
    assert record["engine"] == "swap" and record["valid"] and record["regions"]
    for region in record["regions"]:
        assert set(region) == {"x", "y", "w", "h", "donor"} and (folder / "digit 9" / region["donor"]).is_file()
        assert 0 <= region["x"] < region["x"] + region["w"] <= 28 and 0 <= region["y"] < region["y"] + region["h"] <= 28
    assert any("it shows which parts decide" in note for note in record["notes"])
    both = run("explain", FOUR, *asked[:-2], "--engine", "all", "--format", "json")
    assert [record["engine"] for record in both.records] == ["auto", "swap", "deduce", "jsma", "svce", "pixel"]


def test_a_target_without_images_is_one_sentence(run: Run, folder: Path, here: Path):
    (here / "classes.txt").write_text("\n".join(f"digit {place}" for place in range(10)))
    for path in (folder / "digit 9").iterdir():
        path.unlink()
    asked = ("--classifier", "alone_models:make", "--images", folder, "--classes", "classes.txt", "--target", "digit 9")
    found = run("explain", FOUR, *asked, "-q")
    assert found.code == 2
    assert "engine swap: digits has no images of 'digit 9'; it has digit 0, digit 1" in found.stderr
