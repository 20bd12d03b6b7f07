"""Styles: a human answer goes on until it is as typical of its target as training images are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import cfx
from cfx.answers.searching import NOT_TYPICAL
from cfx.answers.style import PERCENTILE, typical_of
from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.problem import NothingToOffer
from cfx.counterfactuals.registry import load_engine
from cfx.counterfactuals.search.typical import Typical
from cfx.errors import UsageError
from cfx.generative.donors import Donors

FOUR = Path(__file__).parents[2] / "examples" / "four.png"


@pytest.mark.parametrize("name", ["leap", "latent", "vcnet", "projection"])
def test_it_is_more_typical_and_no_less_valid(bundle: Bundle, digits: tuple[Tensor, Tensor], name: str):
    images, labels = digits[0][::20], (digits[1][::20] + 3) % 10
    engine = load_engine(name).from_bundle(bundle)
    typical = typical_of(bundle, "human")
    assert typical is not None
    minimal = engine.search(bundle.classifier, images, labels)
    human = engine.search(bundle.classifier, images, labels, typical=typical)
    assert human.valid.float().mean() >= 0.8
    both = minimal.valid & human.valid
    change = [(found.images - images).abs().flatten(1).sum(dim=1)[both] for found in (minimal, human)]
    assert change[1].mean() > change[0].mean(), "it goes on"
    seen = bundle.classifier(human.images).softmax(dim=1)
    assert bool((seen.argmax(dim=1) == labels)[human.valid].all()), "valid means that the classifier sees the target"
    assert bool((seen.amax(dim=1) >= 0.9)[human.valid].all())


def test_images_are_typical_of_their_own_class_only(bundle: Bundle):
    donors = bundle.part("donors", Donors)
    typical = Typical(donors, PERCENTILE)
    shares = torch.zeros(10, 10)
    flat = torch.nn.Flatten()
    for label in range(10):
        images = donors.of_label(label).images
        for other in range(10):
            shares[label, other] = typical.holds(flat(images), torch.full((len(images),), other), flat).float().mean()
    assert bool((shares.diagonal() > PERCENTILE / 100 - 0.05).all()), "an image is nearest to itself"
    assert float(shares[~torch.eye(10, dtype=torch.bool)].mean()) < 0.15


def test_a_class_with_too_few_images_is_typical_of_nothing():
    few = Donors.of(torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), ["a", "b", "c"])
    flat = torch.nn.Flatten()
    found = Typical(few, 90).holds(torch.zeros(2, 16), torch.tensor([0, 1]), flat)
    assert found.tolist() == [False, False]


def test_where_nothing_typical_is_found_the_smallest_change_is_the_answer(bundle: Bundle):
    options: dict[str, Any] = {"target": "9", "engine": "pixel", "bundle": bundle, "metrics": ["l1"]}
    (minimal,) = cfx.explain(FOUR, **options)
    (human,) = cfx.explain(FOUR, **options, style="human")
    assert minimal.valid and human.valid and NOT_TYPICAL in human.notes
    assert human.value("l1") == minimal.value("l1")
    assert (human.cost.steps or 0) > (minimal.cost.steps or 0), "both searches cost"
    assert human.envelope.as_json()["style"] == "human"


def test_what_cannot_be_had(bundle: Bundle):
    with pytest.raises(UsageError, match="unknown style 'humane': did you mean 'human'"):
        typical_of(bundle, "humane")
    plain: Any = lambda images: bundle.classifier(images)  # noqa: E731
    engine = load_engine("swap").from_bundle(bundle)
    image = torch.zeros(1, 1, 28, 28)
    with pytest.raises(NothingToOffer, match="no linear layer"):
        engine.search(plain, image, torch.tensor([3]), typical=typical_of(bundle, "human"))
