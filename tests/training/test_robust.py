"""robust_classifier and ensemble: what is measured of them is true, and what cannot be had says so."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle, load_bundle
from cfx.classifiers.ensemble import Ensemble
from cfx.classifiers.introspection.attacks import attack
from cfx.errors import BundleError, UsageError
from cfx.images.sets.labelled import Labelled
from cfx.training.parts.ensemble import EnsemblePart
from cfx.training.robust_fit import robust_accuracy


def test_attacked_images_lie_within_the_distance_and_are_harder(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images, labels = digits[0][::8], digits[1][::8]
    attacked = attack(bundle.classifier, images, labels, 2.5, 10)
    lengths = (attacked - images).flatten(1).norm(dim=1)
    assert bool((lengths <= 2.5 * 1.001).all()) and float(lengths.mean()) > 1
    assert bool(((attacked >= 0) & (attacked <= 1)).all())

    def right(some: Tensor) -> float:
        return float((bundle.classifier(some).argmax(dim=1) == labels).float().mean())

    assert right(attacked) < right(images) - 0.2
    assert not any(parameter.requires_grad for parameter in bundle.classifier.parameters()), "left as it was"


def test_the_shipped_one_is_robust_and_the_explained_one_is_not(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    data = Labelled((digits[0][::4] * 255).byte(), digits[1][::4])
    robust = robust_accuracy(bundle.part("robust_classifier"), data, 1.5, steps=20)
    plain = robust_accuracy(bundle.classifier, data, 1.5, steps=20)
    recorded = bundle.parts["robust_classifier"].measured
    assert robust > plain + 0.1 and recorded["epsilon"] == 1.5
    assert robust == pytest.approx(recorded["robust_accuracy"], abs=0.1)


def test_members_of_the_ensemble_are_good_and_different(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    ensemble = bundle.part("ensemble", Ensemble)
    logits = ensemble(digits[0])
    assert logits.shape == (4, 400, 10)
    right = (logits.argmax(dim=2) == digits[1]).float().mean(dim=1)
    assert bool((right > 0.96).all())
    assert not torch.allclose(logits[0], logits[1], atol=0.1)
    own = bundle.classifier(digits[0])
    assert all(not torch.allclose(member, own, atol=0.1) for member in logits)


def test_an_ensemble_of_one_is_refused():
    with pytest.raises(UsageError, match="count = 1; one classifier cannot disagree with itself"):
        EnsemblePart(count=1)


def test_without_the_library_of_attacks_the_extra_is_named(
    bundle: Bundle, digits: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(UsageError, match=r"pip install 'cfx-toolkit\[attacks\]'"):
        attack(bundle.classifier, digits[0][:1], digits[1][:1], 1.0, 1)


def test_a_useless_robust_classifier_is_not_explained(bundle: Bundle, tmp_path: Path):
    copy = Path(shutil.copytree(bundle.directory, tmp_path / "b"))
    text = (copy / "bundle.toml").read_text()
    begin = text.index("[parts.robust_classifier]")
    own = text[begin:].replace('verdict = "good"', 'verdict = "useless"', 1)
    (copy / "bundle.toml").write_text(text[:begin] + own)
    with pytest.raises(BundleError, match=r"robust_classifier is useless: .* goes on training it"):
        load_bundle(str(copy), explained="robust_classifier")
    load_bundle(str(copy))
