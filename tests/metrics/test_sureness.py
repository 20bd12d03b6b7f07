"""How sure the classifier is, beyond its own probability: dropout, the ensemble, distances in its features."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.registry import load_engine
from cfx.errors import BundleError
from cfx.generative.donors import Donors
from cfx.metrics import sureness
from cfx.metrics.evaluate import score
from cfx.metrics.scene import PASSES, Scene

Digits = tuple[Tensor, Tensor]
NAMES = frozenset(("mc_mean", "mc_std", "nn_distance"))


def scene_of(classifier: Any, images: Tensor, targets: Tensor, **parts: object) -> Scene:
    """Counterfactuals, with parts by name."""

    def part(name: str) -> object:
        if name not in parts:
            raise BundleError(f"has no part {name!r}")
        return parts[name]

    held: Any = SimpleNamespace(part=part)
    return Scene(classifier=classifier, factuals=images, counterfactuals=images, targets=targets, models=held)


def test_real_digits_are_sure_and_near(bundle: Bundle, digits: Digits):
    images, labels = digits[0][:60], digits[1][:60]
    own = score(Scene.of(bundle, images, images, labels), NAMES).columns
    other = score(Scene.of(bundle, images, images, (labels + 1) % 10), NAMES).columns
    assert own["mc_mean"].mean() > 0.9 > 0.05 > other["mc_mean"].mean()  # type: ignore[union-attr]
    assert (own["nn_distance"] < other["nn_distance"]).float().mean() > 0.95  # type: ignore[operator]
    noise = load_engine("pixel").from_bundle(bundle).search(bundle.classifier, images, (labels + 1) % 10).images
    of_noise = score(Scene.of(bundle, images, noise, (labels + 1) % 10), NAMES).columns
    assert of_noise["mc_std"].mean() > 2 * own["mc_std"].mean()  # type: ignore[union-attr]


def test_values_come_out_again_and_do_not_depend_on_the_batch(bundle: Bundle, digits: Digits):
    images, targets = digits[0][:5], torch.tensor([1, 2, 3, 4, 5])
    whole = score(Scene.of(bundle, images, images, targets), NAMES).columns
    for row in range(5):
        some = images[row : row + 1]
        alone = score(Scene.of(bundle, some, some, targets[row : row + 1]), NAMES).columns
        for name in NAMES:
            assert float(alone[name]) == pytest.approx(float(whole[name][row]), abs=1e-5), name  # type: ignore[index, arg-type]


def test_dropout_by_hand():
    """One unit, left out in half of the networks: then the logits are equal."""
    classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(1, 2, bias=False)).eval()
    classifier[2].weight.data = torch.tensor([[0.0], [10.0]])
    scene = scene_of(classifier, torch.ones(2, 1, 1, 1), torch.tensor([1, 0]))
    kept = int((scene.mc_probabilities[:, 0] > 0.9).sum())
    share = kept / PASSES
    assert scene.mc_probabilities.shape == (PASSES, 2) and 0.2 < share < 0.8
    assert sureness.mc_mean(scene).tolist() == pytest.approx([share + (1 - share) / 2, (1 - share) / 2])
    assert sureness.mc_std(scene).tolist() == pytest.approx([math.sqrt(share * (1 - share)) / 2] * 2, abs=1e-6)


def test_without_dropout_the_ensemble_is_asked():
    logits = torch.tensor([[[0.0, 0.0]], [[math.log(3.0), 0.0]]])
    scene = scene_of(lambda images: images.flatten(1), torch.ones(1, 1, 1, 2), torch.tensor([0]),
                     ensemble=lambda images: logits)  # fmt: skip
    assert sureness.mc_mean(scene).tolist() == pytest.approx([(0.5 + 0.75) / 2])
    assert sureness.mc_std(scene).tolist() == pytest.approx([0.125])


def test_the_nearest_donor_of_the_target_in_the_features():
    linear = nn.Linear(4, 3).eval()
    classifier = nn.Sequential(nn.Flatten(), linear)
    donors = Donors.of(torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 2, 2),
                       torch.tensor([0, 1, 1]), ["a", "b", "c"])  # fmt: skip
    images = torch.tensor([0.5, 0.5, 0.5]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    scene = scene_of(classifier, images, torch.tensor([0, 1, 2]), donors=donors)
    assert sureness.nn_distance(scene)[:2].tolist() == pytest.approx([1.0, 0.6])
    rows = score(scene, frozenset(("nn_distance",))).rows()
    assert rows[2]["nn_distance"] is None, "there is no donor of the target"


def test_the_reason_where_there_is_no_value():
    images, targets = torch.ones(2, 1, 1, 2), torch.tensor([0, 1])
    bare = scene_of(lambda images: images.flatten(1), images, targets)
    assert score(bare, NAMES).missing == {
        "mc_mean": "has no part 'ensemble'",
        "mc_std": "has no part 'ensemble'",
        "nn_distance": "has no part 'donors'",
    }
    bare.models = None
    assert score(bare, NAMES).missing["mc_mean"] == "there is no bundle with the part 'ensemble'"
    plain = scene_of(lambda images: images.flatten(1), images, targets, donors=None)
    assert "no linear layer" in score(plain, NAMES).missing["nn_distance"]
