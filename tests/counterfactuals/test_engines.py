"""What engines find on real digits with the shipped bundle, beyond the laws of the conformance suite."""

from __future__ import annotations

import pytest
import torch

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.registry import load_engine
from cfx.images.reading import read_image
from cfx.images.writing import write_png

COUNT = 16
LEAST_VALID = dict.fromkeys(("leap", "graft", "projection", "pixel", "swap", "deduce", "jsma", "svce"), 16)
LEAST_VALID |= dict.fromkeys(("latent", "diffeo", "vcnet"), 15) | {"revise": 14, "dive": 12}
"""Of sixteen. An ascent ends elsewhere where a processor adds up in another order: of `dive`'s, 13 or 14 are valid."""


@pytest.fixture(scope="module")
def questions(bundle: Bundle, digits: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sixteen digits that the classifier gets right, each with another class as target."""
    images, labels = digits
    right = bundle.classifier(images).argmax(dim=1) == labels
    chosen = right.nonzero().squeeze(1)[:: int(right.sum()) // COUNT][:COUNT]
    others = torch.randint(1, 10, (COUNT,), generator=torch.Generator().manual_seed(1))
    return images[chosen], (labels[chosen] + others) % 10


@pytest.mark.parametrize("name", LEAST_VALID)
def test_most_answers_are_valid_and_so_is_the_file_that_is_written(bundle, questions, name, tmp_path):
    images, targets = questions
    engine = load_engine(name).from_bundle(bundle)
    found = engine.search(bundle.classifier, images, targets)
    assert int(found.valid.sum()) >= LEAST_VALID[name]
    for row in range(COUNT):
        write_png(tmp_path / f"{row}.png", found.images[row])
    read = torch.stack([read_image(tmp_path / f"{row}.png", bundle.shape).pixels for row in range(COUNT)])
    probabilities = bundle.classifier(read).softmax(dim=1)
    confidence = probabilities.gather(1, targets[:, None]).squeeze(1)
    again = (probabilities.argmax(dim=1) == targets) & (confidence >= engine.confidence)
    assert torch.equal(again, found.valid)
    assert torch.allclose(confidence, found.confidence, atol=1e-4)


@pytest.mark.parametrize("name", ["latent", "diffeo", "pixel"])
def test_an_exhausted_budget_returns_the_best_attempt(bundle, questions, name):
    images, targets = questions[0][:4], questions[1][:4]
    engine = load_engine(name).from_bundle(bundle, max_steps=1, confidence=0.999)
    found = engine.search(bundle.classifier, images, targets)
    assert not found.valid.all()
    start = bundle.classifier(images).softmax(dim=1).gather(1, targets[:, None]).squeeze(1)
    assert (found.confidence[~found.valid] >= start[~found.valid] - 0.05).all()
    assert torch.isfinite(found.images).all()
