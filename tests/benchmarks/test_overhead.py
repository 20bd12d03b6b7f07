"""The bare passes are those that the search makes."""

from __future__ import annotations

import pytest
import torch

from cfx.benchmarks.studies.overhead import overhead, passes
from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.registry import load_engine


@pytest.mark.parametrize("name", ["vcnet", "projection", "latent", "pixel"])
def test_every_pass_is_noted(bundle: Bundle, digits, name):
    images, targets = digits[0][:4], (digits[1][:4] + 3) % 10
    engine = load_engine(name).from_bundle(bundle)
    found = engine.search(bundle.classifier, images, targets)
    before = {key: value for key, value in vars(bundle.classifier).items() if not key.startswith("_")}
    calls = passes(engine, bundle.classifier, images, targets)
    after = {key: value for key, value in vars(bundle.classifier).items() if not key.startswith("_")}
    assert before.keys() == after.keys(), "the models are left as they were"
    of_classifier = [call for call in calls if call.arguments[0].shape[1:] == images.shape[1:] and
                     getattr(call.function, "__self__", None) is bundle.classifier]  # fmt: skip
    assert sum(len(call.arguments[0]) for call in of_classifier) == int(found.forward_calls.sum())
    differentiated = any(call.differentiated for call in of_classifier)
    assert differentiated == (name in ("latent", "pixel"))
    again = engine.search(bundle.classifier, images, targets)
    assert torch.equal(again.images, found.images)


def test_the_ratio_is_of_the_same_work(bundle: Bundle, digits):
    images, targets = digits[0][:8], (digits[1][:8] + 3) % 10
    search, bare = overhead(load_engine("vcnet").from_bundle(bundle), bundle.classifier, images, targets, repeats=2)
    assert 0 < bare < 3 * search
