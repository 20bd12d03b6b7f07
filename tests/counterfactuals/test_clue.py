"""The CLUE family: unsure images become sure, near, and by whichever class; sets are diverse."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import cfx
from cfx.bundles.bundle import Bundle, load_bundle
from cfx.classifiers.ensemble import Ensemble
from cfx.classifiers.introspection.dropout import DropoutNetworks
from cfx.classifiers.introspection.uncertainty import entropy, split
from cfx.counterfactuals.engine import Engine
from cfx.counterfactuals.engines.clue import Clue
from cfx.counterfactuals.registry import load_engine
from cfx.errors import BundleError, UsageError

FAMILY = ("clue", "delta-clue", "nabla-clue", "glam-clue")
FOUR = Path(__file__).parents[2] / "examples" / "four.png"


@pytest.fixture(scope="module")
def unsure(bundle: Bundle, digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The 24 digits of which the classifier is least sure, and the classes that it sees."""
    probabilities = bundle.classifier(digits[0]).softmax(dim=1)
    chosen = entropy(probabilities).topk(24).indices
    return digits[0][chosen], probabilities[chosen].argmax(dim=1)


def entropies(bundle: Bundle, images: Tensor) -> Tensor:
    """Of the mean of the classifier's and the ensemble's probabilities, (N,)."""
    members = bundle.part("ensemble", Ensemble)(images).softmax(dim=2)
    return entropy(torch.cat([bundle.classifier(images).softmax(dim=1)[None], members]).mean(dim=0))


@pytest.mark.parametrize("name", FAMILY)
def test_unsure_images_become_sure_nearby(bundle: Bundle, unsure: tuple[Tensor, Tensor], name: str):
    images, seen = unsure
    engine = load_engine(name).from_bundle(bundle)
    assert engine.any_class
    found = engine.search(bundle.classifier, images, seen)
    assert float(found.valid.float().mean()) >= 0.9
    assert torch.equal(found.targets, found.predicted)
    probabilities = bundle.classifier(found.images).softmax(dim=1)
    assert torch.equal(probabilities.amax(dim=1) >= 0.9, found.valid), "valid is: sure of any class"
    before, after = entropies(bundle, images), entropies(bundle, found.images)
    assert float(after[found.valid].mean()) < 0.5 * float(before[found.valid].mean())
    away = (found.images - images).abs().flatten(1).sum(dim=1)
    between = torch.cdist(images.flatten(1), images.flatten(1), p=1).fill_diagonal_(math.inf)
    assert bool((away < between.mean(dim=1).nan_to_num(posinf=1e9)).all())
    assert float(away.mean()) < float(between[between.isfinite()].mean()) * 0.6
    assert found.about is not None and "epistemic" in found.about[0].notes[0]


def test_entropy_is_split_into_what_all_are_unsure_of_and_what_they_disagree_on():
    agree = torch.tensor([[[0.5, 0.5]], [[0.5, 0.5]]])
    differ = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    total, aleatoric, epistemic = split(agree)
    assert total.item() == pytest.approx(math.log(2)) and aleatoric.item() == pytest.approx(math.log(2))
    assert epistemic.item() == pytest.approx(0, abs=1e-6)
    total, aleatoric, epistemic = split(differ)
    assert total.item() == pytest.approx(math.log(2)) and aleatoric.item() == pytest.approx(0, abs=1e-6)
    assert epistemic.item() == pytest.approx(math.log(2))


def test_the_ensemble_must_become_sure_as_well(bundle: Bundle, unsure: tuple[Tensor, Tensor]):
    images, seen = unsure
    engine = Clue.from_bundle(bundle)
    alone: Engine = Clue(vae=engine.vae, dropouts=0)
    sure = []
    for each in (engine, alone):
        found = each.search(bundle.classifier, images, seen)
        mean = bundle.part("ensemble", Ensemble)(found.images).softmax(dim=2).mean(dim=0)
        sure.append(float(mean.amax(dim=1)[found.valid].mean()))
    assert sure[0] > sure[1]
    found = alone.search(bundle.classifier, images[:1], seen[:1])
    assert found.about is not None and "there is no ensemble" in found.about[0].notes[0]


def test_without_an_ensemble_networks_that_dropout_makes_must_become_sure(
    bundle: Bundle, unsure: tuple[Tensor, Tensor]
):
    images, seen = unsure
    engine = Clue(vae=Clue.from_bundle(bundle).vae)
    networks = DropoutNetworks(bundle.classifier, engine.dropouts, images[:1])
    found = engine.search(bundle.classifier, images, seen)
    mean = networks(found.images).softmax(dim=2).mean(dim=0)
    assert float(mean.amax(dim=1)[found.valid].min()) > 0.89, "0.9 before the image is rounded to 8 bits"
    assert float(found.valid.float().mean()) >= 0.9
    assert found.about is not None and "and 8 networks that dropout makes of it: " in found.about[0].notes[0]
    alone = Clue(vae=engine.vae, dropouts=0).search(bundle.classifier, images, seen)
    assert float(found.forward_calls.float().mean()) > 4 * float(alone.forward_calls.float().mean()), "they are counted"
    seen_by_none = Clue(vae=engine.vae).search(bundle.classifier.__call__, images[:1], seen[:1])
    assert seen_by_none.about is not None and "the classifier shows no dropout layer" in seen_by_none.about[0].notes[0]


def test_the_ball_is_kept(bundle: Bundle, unsure: tuple[Tensor, Tensor]):
    images, seen = unsure
    vae: Any = bundle.part("vae")
    near, far = (
        load_engine("delta-clue").from_bundle(bundle, delta=delta).search(bundle.classifier, images, seen)
        for delta in (0.7, 4.0)
    )
    lengths = [(found.images - images).abs().flatten(1).sum(dim=1) for found in (near, far)]
    limit = (vae.decode(vae.encode(images)) - images).abs().flatten(1).sum(dim=1)
    assert float((lengths[0] - limit).mean()) < float((lengths[1] - limit).mean())
    assert near.valid.float().mean() < far.valid.float().mean()


def test_a_set_of_nabla_clue_is_the_most_diverse(bundle: Bundle, unsure: tuple[Tensor, Tensor]):
    images, seen = (values[:12] for values in unsure)

    def apart(name: str) -> float:
        engine, found = load_engine(name).from_bundle(bundle), []
        for _ in range(3):
            earlier = torch.stack(found, dim=1) if found else None
            found.append(engine.search(bundle.classifier, images, seen, earlier=earlier).images)
        gaps = [(found[a] - found[b]).abs().flatten(1).sum(dim=1).mean() for a, b in ((0, 1), (0, 2), (1, 2))]
        return float(torch.stack(gaps).mean())

    near, random, diverse = (apart(name) for name in ("clue", "delta-clue", "nabla-clue"))
    assert random > 1.2 * near, "random starts find other answers"
    assert diverse > 1.1 * random, "and starts and a term that keep away from the earlier answers more so"


def test_one_translation_takes_no_search(bundle: Bundle, unsure: tuple[Tensor, Tensor]):
    images, seen = unsure
    amortised = load_engine("glam-clue").from_bundle(bundle, bisections=0).search(bundle.classifier, images, seen)
    searched = load_engine("clue").from_bundle(bundle).search(bundle.classifier, images, seen)
    assert bool((amortised.forward_calls <= 4).all()) and not bool(amortised.backward_calls.any())
    assert float(searched.forward_calls.float().mean()) > 2 * float(amortised.forward_calls.float().mean())


def test_naming_one_asks_for_certainty(bundle: Bundle):
    (answer,) = cfx.explain(FOUR, engine="clue", bundle=bundle, confidence=0.995, metrics=["l1"])
    assert answer.question.goal == "certain" and answer.valid and answer.target == answer.counterfactual.name
    with pytest.raises(UsageError, match=r"engine clue: .* cannot be asked for a target"):
        cfx.explain(FOUR, engine="clue", bundle=bundle, target=9)


def test_a_black_box_is_refused_where_gradients_are_needed(bundle: Bundle):
    models = load_bundle("mnist").models
    models.differentiable = False
    with pytest.raises(BundleError, match="black box"):
        Clue.from_models(models)
    load_engine("glam-clue").from_models(models)


def test_a_bundle_without_translations_says_what_makes_them():
    with pytest.raises(BundleError, match="--only glam` makes it"):
        load_engine("glam-clue").from_bundle(load_bundle("fashion-mnist"))
