"""Models that work in a smaller size than the classifier: the answer is the photo plus the enlarged change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.registry import load_engine
from cfx.images.resizing import resize_batch

FACTOR = 4
WORKING = (28, 28)


class Large(nn.Module):
    """The shipped classifier for images four times as large."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(nn.functional.avg_pool2d(images, FACTOR))


@pytest.fixture(scope="module")
def photos(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """16 digits of 112x112 pixels with a fine grain that no model of 28x28 could draw."""
    images, labels = digits[0][::25], digits[1][::25]
    large = nn.functional.interpolate(images, scale_factor=FACTOR, mode="bilinear")
    grain = ((torch.arange(112)[:, None] + torch.arange(112)) % 2).float() * 0.1
    return ((large * 0.8 + grain).clamp(0, 1) * 255).round() / 255, labels


@pytest.mark.parametrize("name", ["leap", "latent", "diffeo", "vcnet", "projection", "pixel"])
def test_the_answer_is_the_photo_plus_a_smooth_change(bundle: Bundle, photos: tuple[Tensor, Tensor], name: str):
    images, labels = photos
    classifier, targets = Large(bundle.classifier), (labels + 1) % 10
    engine = load_engine(name).from_bundle(bundle, working=WORKING)
    found = engine.search(classifier, images, targets, path=True)
    assert found.images.shape == images.shape
    assert found.path is not None and found.path.shape[2:] == images.shape[1:]
    assert torch.equal(found.path[:, 0], images) and torch.equal(found.path[:, -1], found.images)
    assert found.valid.float().mean() >= 0.8
    confidence = classifier(found.images).softmax(dim=1).gather(1, targets[:, None]).squeeze(1)
    assert torch.allclose(confidence, found.confidence, atol=1e-3)
    # Where neither black nor white cuts it off, the grain of the photo is still there and the change has none.
    change = found.images - images
    inside = (found.images > 0.02) & (found.images < 0.98) & (images > 0.02) & (images < 0.98)
    board = torch.where((torch.arange(112)[:, None] + torch.arange(112)) % 2 == 0, 1.0, -1.0).expand_as(images)
    grain_of_photo = (images * board)[inside].mean().abs()
    grain_of_change = (change * board)[inside].mean().abs()
    assert grain_of_photo > 0.03
    assert grain_of_change < 0.3 * grain_of_photo
    assert change.abs().sum(dim=(1, 2, 3)).min() > 0


def test_the_rest_is_kept_by_default_where_changes_are_carried(bundle: Bundle, photos: tuple[Tensor, Tensor]):
    images, labels = photos
    classifier, targets = Large(bundle.classifier), (labels + 1) % 10
    kept = load_engine("vcnet").from_bundle(bundle, working=WORKING)
    blurred = load_engine("vcnet").from_bundle(bundle, working=WORKING, residual=False)
    paths = [engine.search(classifier, images, targets, path=True).path for engine in (kept, blurred)]
    first_steps = [(path[:, 1] - images).abs().sum(dim=(1, 2, 3)).mean() for path in paths if path is not None]
    # Without it, what the model cannot draw is taken away at the first step already.
    assert first_steps[0] < first_steps[1]


def test_residual_keeps_what_a_vae_cannot_draw(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    """x + decode(z) - decode(z_0), at the images' own size: at the start of the way nothing has changed."""
    images, labels = digits[0][::40], digits[1][::40]
    targets = (labels + 1) % 10
    for name in ("latent", "vcnet", "projection"):
        engine = load_engine(name).from_bundle(bundle, residual=True)
        plain = load_engine(name).from_bundle(bundle)
        path = engine.search(bundle.classifier, images, targets, path=True).path
        other = plain.search(bundle.classifier, images, targets, path=True).path
        assert path is not None and other is not None
        near = (path[:, 1] - images).abs().sum(dim=(1, 2, 3)).mean()
        far = (other[:, 1] - images).abs().sum(dim=(1, 2, 3)).mean()
        assert near < far


def test_resized_is_the_same_tensor_where_there_is_nothing_to_do():
    images = torch.rand(2, 1, 28, 28)
    assert resize_batch(images, WORKING) is images
    assert resize_batch(images, (14, 7)).shape == (2, 1, 14, 7)
