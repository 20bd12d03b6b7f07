"""Implausibility: SSIM against scikit-image, and on real digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cfx.benchmarks.training_images import OfBundle
from cfx.bundles.bundle import Bundle
from cfx.metrics import implausibility as metric
from cfx.metrics.catalogue import ON_REQUEST
from cfx.metrics.evaluate import LPIPS, chosen, score, with_lpips
from cfx.metrics.implausibility import implausibility_of, ssim
from cfx.metrics.scene import Missing, Scene

Digits = tuple[Tensor, Tensor]


class Held:
    """Training images in memory."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def of_class(self, label: int) -> Tensor:
        return self.images[self.labels == label]


def scene_of(images: Tensor, targets: Tensor, training: Held | None) -> Scene:
    return Scene(
        classifier=torch.nn.Flatten(), factuals=images, counterfactuals=images, targets=targets, training=training
    )


def test_ssim_is_that_of_scikit_image_at_every_pixel(digits: Digits):
    """Whose own mean leaves out the pixels near the border."""
    metrics = pytest.importorskip("skimage.metrics")
    grey = digits[0][:40]
    colours = torch.rand(6, 3, 11, 14, generator=torch.Generator().manual_seed(0))
    kinds = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    for first, second in ((grey[:20], grey[20:]), (colours[:3], colours[3:])):
        for value, one, other in zip(ssim(first, second), first, second, strict=True):
            arrays = one.double().numpy(), other.double().numpy()
            _, everywhere = metrics.structural_similarity(*arrays, channel_axis=0, full=True, **kinds)
            assert float(value) == pytest.approx(everywhere.mean(), abs=1e-5)
    assert ssim(grey, grey).allclose(torch.ones(40)) and ssim(grey[:1], grey)[0] == pytest.approx(1)


def test_one_image_is_compared_with_all(digits: Digits):
    images = digits[0][:5]
    assert ssim(images[:1], images).allclose(torch.cat([ssim(images[:1], each[None]) for each in images]))


def test_only_the_nearest_count():
    near, far = torch.full((1, 1, 4, 4), 0.6), torch.zeros(1, 1, 4, 4)
    image = torch.full((1, 1, 4, 4), 0.5)
    luminance = (2 * 0.3 + 1e-4) / (0.36 + 0.25 + 1e-4)  # nothing varies, so that only means differ
    one = implausibility_of(image, torch.cat([far, near]), neighbours=1)
    assert float(one) == pytest.approx((1 - luminance) / 2, abs=5e-5)
    both = implausibility_of(image, torch.cat([far, near]))
    assert float(both) == pytest.approx(((1 - luminance) / 2 + (1 - 1e-4 / (0.25 + 1e-4)) / 2) / 2, abs=5e-5)


def test_it_does_not_depend_on_blocks_or_the_batch(digits: Digits, monkeypatch):
    images, labels = digits
    reals = images[labels == 3]
    whole = implausibility_of(images[:6], reals, neighbours=10)
    monkeypatch.setattr(metric, "VALUES", 784 * 7)
    bytes_of = (reals * 255).round().to(torch.uint8)
    parts = torch.cat([implausibility_of(each[None], bytes_of, neighbours=10) for each in images[:6]])
    assert whole.allclose(parts, atol=1e-6)


def test_images_of_the_target_are_plausible_and_others_are_not(digits: Digits):
    images, labels = digits
    known = Held(images[::2], labels[::2])
    own = metric.implausibility(scene_of(images[1::2], labels[1::2], known))
    other = metric.implausibility(scene_of(images[1::2], (labels[1::2] + 1) % 10, known))
    noise = 0.2 * torch.rand(images[1::2].shape, generator=torch.Generator().manual_seed(0))
    noisy = metric.implausibility(scene_of((images[1::2] + noise).clamp(0, 1), labels[1::2], known))
    assert own.mean() < other.mean() - 0.05 and own.mean() < noisy.mean() - 0.1
    assert (own < other).float().mean() > 0.9


def test_only_on_request_and_the_reason_where_it_has_no_value(digits: Digits):
    images, labels = digits[0][:3], torch.tensor([1, 2, 2])
    wanted = frozenset(("l1", "implausibility"))
    usual = score(scene_of(images, labels, None))
    assert not set(ON_REQUEST) & {*usual.columns, *with_lpips()} and "l1" in usual.columns
    unknown = score(scene_of(images, labels, None), wanted)
    assert unknown.columns["implausibility"] is None
    assert "training images are not known (cfx bench --data)" in unknown.missing["implausibility"]
    some = score(scene_of(images, labels, Held(images, torch.tensor([1, 1, 1]))), wanted).rows()
    assert some[0]["implausibility"] is not None
    assert some[1]["implausibility"] is None, "there is no image of the target"
    assert implausibility_of(images[:0], images).shape == (0,)


def test_names_are_added_to_the_usual_ones():
    assert chosen(lpips=False) is None and chosen(lpips=True) == with_lpips()
    also = chosen(lpips=False, also=("implausibility",))
    assert also == with_lpips() - {LPIPS} | {"implausibility"}


def test_training_images_of_a_bundle(bundle: Bundle, tmp_path: Path):
    with pytest.raises(Missing, match=r"needs the classifier's training images.*\(--data\)"):
        OfBundle(bundle, None).of_class(3)
    empty = OfBundle(bundle, tmp_path)
    with pytest.raises(Missing, match="the classifier's training images cannot be read"):
        empty.of_class(3)
    assert empty.digest == "none"
