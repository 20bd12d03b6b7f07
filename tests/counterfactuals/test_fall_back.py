"""What engines fall back on where their own method finds nothing valid is said, answer by answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cfx.answers.explain import explain
from cfx.bundles.bundle import Bundle, load_bundle
from cfx.counterfactuals.curve import About
from cfx.counterfactuals.engine import Counterfactuals
from cfx.counterfactuals.engines.auto import Auto
from cfx.counterfactuals.engines.projection import SharpShooter
from cfx.counterfactuals.engines.vcnet import VCNet

CLOTHES = Path(__file__).parents[2] / "examples" / "fashion"


@pytest.fixture(scope="module")
def clothes() -> tuple[Bundle, Tensor, Tensor]:
    """The bundle, and each of the example's clothes with three other classes as targets."""
    bundle = load_bundle("fashion-mnist")
    read = torch.stack([bundle.read(path).pixels for path in sorted(CLOTHES.glob("*.png"))])
    images = torch.cat([read, read, read])
    seen = bundle.classifier(images).argmax(dim=1)
    return bundle, images, (seen + 1 + torch.arange(len(images)) % 9) % 10


def said(found: Counterfactuals) -> list[About]:
    assert found.about is not None
    return list(found.about)


def test_projection_says_which_answers_go_to_real_images(clothes: tuple[Bundle, Tensor, Tensor]):
    bundle, images, targets = clothes
    engine = SharpShooter.from_bundle(bundle)
    found = engine.search(bundle.classifier, images, targets)
    alone = replace(engine, neighbours=0).search(bundle.classifier, images, targets)
    moved = torch.tensor([bool(each.fell_back) for each in said(found)])
    assert bool(moved.any()) and not bool(moved.all())
    assert torch.equal(moved & found.valid, ~alone.valid & found.valid), "where the projection is not valid"
    assert torch.equal(found.images[~moved], alone.images[~moved])
    assert all(bool(each.notes) == bool(each.fell_back) for each in said(found))
    assert {each.fell_back for each in said(alone)} == {False} and not any(each.notes for each in said(alone))


def test_further_answers_of_projection_are_on_the_way_to_real_images(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images, targets = digits[0][::100], (digits[1][::100] + 1) % 10
    engine = SharpShooter.from_bundle(bundle)
    first = engine.search(bundle.classifier, images, targets)
    further = engine.search(bundle.classifier, images, targets, earlier=first.images[:, None])
    assert all(each.fell_back and "another real image" in each.notes[0] for each in said(further))


def test_vcnet_says_which_answers_forget_the_image(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images, targets = digits[0][::3], (digits[1][::3] + 1) % 10
    engine = VCNet.from_bundle(bundle)
    found = engine.search(bundle.classifier, images, targets)
    whole = replace(engine, shrinkages=()).search(bundle.classifier, images, targets)
    shrunk = torch.tensor([bool(each.fell_back) for each in said(found)])
    assert bool(shrunk.any()) and not bool(shrunk.all())
    assert torch.equal(shrunk & found.valid, ~whole.valid & found.valid), "where one pass is not enough"
    assert torch.equal(found.images[~shrunk], whole.images[~shrunk])
    assert all(bool(each.notes) == bool(each.fell_back) for each in said(found))


def test_vcnet_says_where_nothing_of_the_image_is_left(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images, targets = digits[0][::3], (digits[1][::3] + 1) % 10
    engine = VCNet.from_bundle(bundle, shrinkages=(0.0,), tightened=False)
    found = engine.search(bundle.classifier, images, targets)
    gone = [row for row, each in enumerate(said(found)) if each.fell_back]
    assert gone and all("the image was forgotten" in said(found)[row].notes[0] for row in gone)
    again = engine.search(bundle.classifier, images[gone].flip(2), targets[gone])
    both = [row for row, each in enumerate(said(again)) if each.fell_back]
    assert both and torch.equal(again.images[both], found.images[[gone[row] for row in both]]), "whatever the image"


def test_auto_passes_on_what_its_answer_fell_back_on(clothes: tuple[Bundle, Tensor, Tensor]):
    bundle, images, targets = clothes
    chosen = Auto.from_bundle(bundle, engines=("projection",), searches=1).search(bundle.classifier, images, targets)
    own = SharpShooter.from_bundle(bundle).search(bundle.classifier, images, targets)
    told = [each.fell_back for each in said(chosen)]
    assert True in told and told == [each.fell_back for each in said(own)]


def test_the_answer_says_so_and_engines_without_a_fall_back_say_nothing(tmp_path: Path):
    bag = CLOTHES / "bag.png"
    metrics = ["l1"]
    answers = {
        engine: next(iter(explain(bag, target="Trouser", bundle="fashion-mnist", engine=engine, metrics=metrics)))
        for engine in ("projection", "latent")
    }
    told = answers["projection"]
    assert told.fell_back is not None and told.value("fell_back") == float(told.fell_back)
    assert told.as_json()["fell_back"] == told.fell_back
    assert bool(told.notes) == told.fell_back
    assert answers["latent"].fell_back is None and answers["latent"].value("fell_back") is None
    assert "fell_back" not in answers["latent"].as_json()
