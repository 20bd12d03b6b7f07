"""Laws that every engine keeps, on real digits and the shipped bundle."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.engine import Engine
from cfx.counterfactuals.registry import engine_names, load_engine
from cfx.counterfactuals.tightening import PATH_FRAMES
from cfx.errors import UsageError
from cfx.images.reading import read_image
from cfx.images.writing import write_png

COUNT = 16
LEAST_VALID = {"latent": 15, "diffeo": 15, "vcnet": 15, "projection": 16, "pixel": 16, "swap": 16}
PREPARING = {"swap": 1}  # calls in each search that are no candidates: it finds the layer of its features
ITERATING = ("latent", "diffeo", "pixel")


class Counting(nn.Module):
    """Counts the images that pass through a classifier."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier
        self.seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return self.classifier(images)


class Undecided(nn.Module):
    """Adds other noise to a classifier's logits at each evaluation."""

    def __init__(self, classifier: nn.Module, noise: float) -> None:
        super().__init__()
        self.classifier = classifier
        self.noise = noise
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.classifier(images)
        return logits + self.noise * torch.randn(logits.shape, generator=self.generator)


@pytest.fixture(scope="module")
def questions(bundle: Bundle, digits: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sixteen digits that the classifier gets right, each with another class as target."""
    images, labels = digits
    right = bundle.classifier(images).argmax(dim=1) == labels
    chosen = right.nonzero().squeeze(1)[:: int(right.sum()) // COUNT][:COUNT]
    others = torch.randint(1, 10, (COUNT,), generator=torch.Generator().manual_seed(1))
    return images[chosen], (labels[chosen] + others) % 10


@pytest.fixture(scope="module", params=list(LEAST_VALID))
def engine(request: pytest.FixtureRequest, bundle: Bundle) -> Engine:
    return load_engine(request.param).from_bundle(bundle)


def test_every_engine_is_under_test():
    assert set(engine_names()) == set(LEAST_VALID)


def test_a_result_never_contradicts_itself(bundle, questions, engine):
    """Validity, class and confidence are from one evaluation, whatever the classifier says at the next."""
    images, targets = (values[:4] for values in questions)
    limited = dataclasses.replace(engine, **({"max_steps": 10} if engine.name in ITERATING else {}))
    found = limited.search(Undecided(bundle.classifier, 5.0), images, targets)
    meets = (found.predicted == targets) & (found.confidence >= engine.confidence)
    assert torch.equal(found.valid, meets)
    assert torch.equal(
        found.predicted_confidence[found.predicted == targets], found.confidence[found.predicted == targets]
    )
    assert (found.predicted_confidence >= found.confidence).all()


def test_finds_valid_eight_bit_images(bundle, questions, engine):
    images, targets = questions
    found = engine.search(bundle.classifier, images, targets)
    assert found.images.shape == images.shape
    assert found.images.min() >= 0 and found.images.max() <= 1
    levels = found.images * 255
    assert (levels - levels.round()).abs().max() < 1e-3
    assert int(found.valid.sum()) >= LEAST_VALID[engine.name]
    assert torch.equal(found.targets, targets)


def test_valid_means_valid_on_the_written_file(bundle, questions, engine, tmp_path):
    images, targets = questions
    found = engine.search(bundle.classifier, images, targets)
    for row in range(COUNT):
        write_png(tmp_path / f"{row}.png", found.images[row])
    read = torch.stack([read_image(tmp_path / f"{row}.png", bundle.shape).pixels for row in range(COUNT)])
    probabilities = bundle.classifier(read).softmax(dim=1)
    confidence = probabilities.gather(1, targets[:, None]).squeeze(1)
    again = (probabilities.argmax(dim=1) == targets) & (confidence >= engine.confidence)
    assert torch.equal(again, found.valid)
    assert torch.allclose(confidence, found.confidence, atol=1e-4)


def test_a_batch_equals_its_images_one_by_one(bundle, questions, engine):
    images, targets = questions[0][:8], questions[1][:8]
    together = engine.search(bundle.classifier, images, targets)
    alone = [engine.search(bundle.classifier, images[i : i + 1], targets[i : i + 1]) for i in range(len(images))]
    difference = (torch.cat([one.images for one in alone]) - together.images).abs().amax(dim=(1, 2, 3))
    assert torch.equal(torch.cat([one.valid for one in alone]), together.valid)
    # Rounding to 8 bits may fall either way where float sums differ in their last digit.
    close = difference <= 2 / 255
    if engine.name in ITERATING:
        # A convolution's last digit depends on the batch size, and a ReLU or a max pooling at its kink makes a
        # difference of one ascent in a few. None may come from the other images, so most must agree.
        assert close.float().mean() >= 0.5
        assert (torch.cat([one.steps for one in alone]) - together.steps).abs().float().median() == 0
    else:
        assert close.all()


def test_the_same_seed_gives_the_same_bytes(bundle, questions, engine):
    images, targets = questions[0][:4], questions[1][:4]
    first = engine.search(bundle.classifier, images, targets, seed=3)
    second = engine.search(bundle.classifier, images, targets, seed=3)
    assert torch.equal(first.images, second.images)


def test_calls_are_counted(bundle, questions, engine):
    images, targets = questions[0][:4], questions[1][:4]
    engine.search(bundle.classifier, images, targets)  # donors are looked at once, and not for one image
    classifier = Counting(bundle.classifier)
    found = engine.search(classifier, images, targets)
    assert classifier.seen - int(found.forward_calls.sum()) == PREPARING.get(engine.name, 0)
    assert bool((found.backward_calls > 0).all()) == (engine.name in ITERATING)
    assert (found.backward_calls <= found.forward_calls).all()


def test_the_classifier_is_left_as_it_was(bundle, questions, engine):
    images, targets = questions[0][:2], questions[1][:2]
    classifier = bundle.classifier
    classifier.train()
    classifier.requires_grad_(True)
    try:
        before = {name: value.clone() for name, value in classifier.state_dict().items()}
        engine.search(classifier, images, targets)
        assert all(module.training for module in classifier.modules())
        assert all(p.requires_grad and p.grad is None for p in classifier.parameters())
        assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())
    finally:
        classifier.eval()
        classifier.requires_grad_(False)


def test_the_path_leads_from_the_factual_to_the_counterfactual(bundle, questions, engine):
    images, targets = questions[0][:3], questions[1][:3]
    found = engine.search(bundle.classifier, images, targets, path=True)
    assert found.path is not None and found.path.shape == (3, PATH_FRAMES, *images.shape[1:])
    assert torch.equal(found.path[:, 0], images)
    assert torch.equal(found.path[:, -1], found.images)
    without = engine.search(bundle.classifier, images, targets)
    assert without.path is None and torch.equal(without.images, found.images)


@pytest.mark.parametrize("name", ITERATING)
def test_an_exhausted_budget_returns_the_best_attempt(bundle, questions, name):
    images, targets = questions[0][:4], questions[1][:4]
    engine = load_engine(name).from_bundle(bundle, max_steps=1, confidence=0.999)
    found = engine.search(bundle.classifier, images, targets)
    assert not found.valid.all()
    start = bundle.classifier(images).softmax(dim=1).gather(1, targets[:, None]).squeeze(1)
    assert (found.confidence[~found.valid] >= start[~found.valid] - 0.05).all()
    assert torch.isfinite(found.images).all()


def test_an_empty_batch_is_answered_with_an_empty_one(bundle, engine):
    found = engine.search(bundle.classifier, torch.zeros(0, 1, 28, 28), torch.zeros(0, dtype=torch.int64))
    assert len(found) == 0


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, 90.0])
def test_a_confidence_that_is_no_probability_is_refused(bundle, confidence):
    with pytest.raises(UsageError, match=r"choose a probability between 0 and 1"):
        load_engine("pixel").from_bundle(bundle, confidence=confidence)
