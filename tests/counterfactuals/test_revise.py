"""revise: what the distance to the factual weighs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.engine import Counterfactuals
from cfx.counterfactuals.engines.revise import Revise
from cfx.errors import UsageError
from cfx.generative.vae import VAE


@pytest.fixture(scope="module")
def asked(bundle: Bundle, digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Forty digits, and the runner-up class of each."""
    images = digits[0][::10]
    return images, bundle.classifier(images).topk(2, dim=1).indices[:, 1]


@pytest.fixture(scope="module")
def found(bundle: Bundle, asked: tuple[Tensor, Tensor]) -> Counterfactuals:
    return Revise.from_bundle(bundle).search(bundle.classifier, *asked)


def distances(found: Counterfactuals, images: Tensor) -> Tensor:
    return (found.images - images).abs().flatten(1).sum(dim=1)


def test_answers_are_valid_and_convince_the_judge(bundle: Bundle, found: Counterfactuals, asked: tuple[Tensor, Tensor]):
    assert found.valid.float().mean() >= 0.9
    judge = bundle.part("judge", torch.nn.Module)
    assert (judge(found.images).argmax(dim=1) == asked[1]).float().mean() >= 0.8


def test_a_larger_weight_stays_nearer(bundle: Bundle, found: Counterfactuals, asked: tuple[Tensor, Tensor]):
    images, targets = asked
    free, heavy = (
        Revise.from_bundle(bundle, distance_weights=(weight,)).search(bundle.classifier, images, targets)
        for weight in (0.0, 0.1)
    )
    both = found.valid & free.valid
    assert distances(found, images)[both].mean() < 0.9 * distances(free, images)[both].mean()
    assert distances(heavy, images).mean() < distances(found, images).mean()
    assert heavy.valid.sum() < found.valid.sum(), "falling weights reach images that one large weight does not"


def test_what_one_weight_reaches_stays_as_it_is(bundle: Bundle, found: Counterfactuals, asked: tuple[Tensor, Tensor]):
    """An image that is valid with the first weight never sees the others."""
    first = Revise.from_bundle(bundle, distance_weights=(0.1,)).search(bundle.classifier, *asked)
    assert 0 < first.valid.sum() < len(first)
    assert (first.images - found.images)[first.valid].abs().max() <= 2 / 255
    assert torch.equal(first.steps[first.valid], found.steps[first.valid])
    assert (found.steps[~first.valid] > 40).all()


def test_the_distance_is_that_of_the_change_where_the_rest_is_kept(bundle: Bundle, asked: tuple[Tensor, Tensor]):
    """With an overwhelming weight nothing moves: the answer is the factual, not its reconstruction."""
    images, targets = (values[:6] for values in asked)
    settings = {"distance_weights": (1000.0,), "learning_rate": 1e-4}
    kept = Revise.from_bundle(bundle, residual=True, **settings).search(bundle.classifier, images, targets)
    made = Revise.from_bundle(bundle, residual=False, **settings).search(bundle.classifier, images, targets)
    vae = bundle.part("vae", VAE)
    error = (vae.decode(vae.encode(images)) - images).abs().flatten(1).sum(dim=1)
    assert (distances(kept, images) < 0.1 * error).all()
    assert torch.allclose(distances(made, images), error, rtol=0.1)


def test_a_negative_weight_is_refused(bundle: Bundle):
    with pytest.raises(UsageError, match="choose 0 or more"):
        Revise.from_bundle(bundle, distance_weights=(0.1, -0.1))
