"""Implausibility: SSIM is scikit-image's, and real images are more like the training images than noise is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cfx.benchmarks.training_images import OfBundle
from cfx.bundles.bundle import Bundle
from cfx.images.sets.labelled import Labelled
from cfx.metrics.evaluate import score
from cfx.metrics.implausibility import NEAREST, implausibility_of, structural_similarity
from cfx.metrics.scene import Missing, Scene


@dataclass(frozen=True)
class Held:
    """Training images in memory."""

    images: Labelled

    def of_class(self, label: int) -> Tensor:
        return self.images.of_class(label).images


ASKED = frozenset(("implausibility",))


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_scikit_image(digits: tuple[Tensor, Tensor], channels: int):
    metrics = pytest.importorskip("skimage.metrics")
    images = digits[0][: 4 * channels].view(4, channels, 28, 28)
    for first, second in ((images[0], images[1]), (images[2], (images[2] + 0.2 * torch.rand(28, 28)).clamp(0, 1))):
        x, y = ((2 * each - 1).permute(1, 2, 0).numpy() for each in (first, second))
        given = metrics.structural_similarity(
            x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=2, channel_axis=2
        )
        assert float(structural_similarity(first[None], second[None])) == pytest.approx(float(given), abs=1e-4)
    assert float(structural_similarity(images[:1], images[:1])) == pytest.approx(1.0)


def test_the_nearest_images_are_compared_with(digits: tuple[Tensor, Tensor]):
    images, labels = digits
    sevens, others = images[labels == 7], images[labels != 7]
    assert len(others) > 2 * NEAREST
    found = implausibility_of(sevens[:2], others)
    for image, value in zip(sevens[:2], found.tolist(), strict=True):
        order = (others - image).flatten(1).norm(dim=1).argsort()[:NEAREST]
        similar = [float(structural_similarity(image[None], others[row][None])) for row in order.tolist()]
        assert value == pytest.approx((1 - sum(similar) / NEAREST) / 2, abs=1e-5)
    only = implausibility_of(sevens[:2], sevens[2:])
    assert len(sevens) - 2 < NEAREST and torch.all(only < found), "fewer than a hundred are all compared with"
    as_bytes = implausibility_of(sevens[:2], (sevens[2:] * 255).round().byte())
    assert torch.allclose(only, as_bytes, atol=1e-6)
    assert float(implausibility_of(sevens[:1], sevens[:1])) == pytest.approx(0.0, abs=1e-6)


def test_noise_and_other_classes_are_less_plausible(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images, labels = digits
    rows = (labels == 3).nonzero().squeeze(1)[:8]
    training = Labelled((images * 255).round().byte(), labels)
    noisy = (images[rows] + 0.3 * torch.randn_like(images[rows])).clamp(0, 1)

    def measured(counterfactuals: Tensor, target: int) -> float:
        targets = torch.full((len(counterfactuals),), target)
        scene = Scene.of(bundle, images[rows], counterfactuals, targets, training=Held(training))
        column = score(scene, ASKED).columns["implausibility"]
        assert column is not None and bool(((column >= 0) & (column <= 1)).all())
        return float(column.mean())

    real, other, noise = measured(images[rows], 3), measured(images[rows], 4), measured(noisy, 3)
    assert real < other and real < noise


def test_what_is_missing_is_said(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images, targets = digits[0][:2], torch.tensor([3, 3])
    small = torch.zeros(2, 1, 8, 8)
    training = Labelled(torch.zeros(1, 1, 28, 28, dtype=torch.uint8), torch.tensor([4]))
    for scene, why in (
        (Scene.of(bundle, images, images, targets), "--data"),
        (Scene.of(bundle, images, images, targets, training=Held(training)), "no training image of the target"),
        (Scene.of(bundle, small, small, targets, training=Held(training)), "at least 11 x 11"),
    ):
        found = score(scene, ASKED)
        assert found.columns["implausibility"] is None and why in found.missing["implausibility"]
    assert "implausibility" not in score(Scene.of(bundle, images, images, targets)).columns, "only on request"


def test_training_images_of_a_bundle(bundle: Bundle, tmp_path: Path):
    with pytest.raises(Missing, match="--data"):
        OfBundle(bundle, None).of_class(3)
    empty = OfBundle(bundle, tmp_path)
    assert empty.digest == "none"
    with pytest.raises(Missing, match="cannot be read"):
        empty.of_class(3)
