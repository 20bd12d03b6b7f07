"""The velocity field: shapes, conditions, and that following it up and down again gives the image back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle
from cfx.generative.velocity import Pull, VelocityField


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, (40, 32)), (3, (33, 50)), (1, 9)])
def test_images_of_any_size_keep_it(channels: int, size: int | tuple[int, int]):
    field = VelocityField(channels, size, classes=4, width=16)
    height, width = (size, size) if isinstance(size, int) else size
    images, level, condition = torch.randn(2, channels, height, width), torch.rand(2), torch.rand(2, 4).softmax(1)
    assert field(images, level, condition).shape == images.shape
    assert field(images, level, None).shape == images.shape


def test_a_dropped_condition_is_none(bundle: Bundle):
    field = bundle.part("matching", VelocityField)
    images, level, condition = torch.randn(3, 1, 28, 28), torch.rand(3), torch.eye(10)[:3]
    dropped = field(images, level, condition, torch.tensor([True, False, True]))
    free, given = field(images, level, None), field(images, level, condition)
    assert torch.allclose(dropped[[0, 2]], free[[0, 2]], atol=1e-5)
    assert torch.allclose(dropped[1], given[1], atol=1e-5)
    assert (free - given).abs().amax() > 0.01


def test_guidance_of_one_is_the_plain_velocity(bundle: Bundle):
    field = bundle.part("matching", VelocityField)
    images, level, condition = torch.randn(3, 1, 28, 28), torch.rand(3), torch.eye(10)[:3]
    one, none = (field.guided(images, level, condition, weight) for weight in (torch.ones(3), None))
    assert torch.allclose(one, none, atol=1e-5)


def test_up_and_down_again_gives_the_image_back(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    field, images = bundle.part("matching", VelocityField), digits[0][:8]
    condition, zero = bundle.classifier(images).softmax(dim=1), torch.zeros(8)
    lifted = field.integrate(images * 2 - 1, zero, zero + 0.7, condition, steps=20)
    landed = field.integrate(lifted, zero + 0.7, zero, condition, steps=20)
    assert (landed / 2 + 0.5 - images).abs().mean() < 1e-3
    assert (lifted - (images * 2 - 1)).abs().mean() > 0.1


def test_a_pull_moves_the_predicted_image_by_at_most_its_weight():
    noised, velocity, to = torch.randn(3, 4, 1, 6, 6)
    level = torch.tensor([0.9, 0.6, 0.4, 0.2])
    predicted = noised - level[:, None, None, None] * velocity

    def pulled(weight: float) -> Tensor:
        found = Pull(to, torch.full((4,), weight)).applied(velocity, noised, level)
        return noised - level[:, None, None, None] * found

    assert torch.equal(Pull(to, torch.zeros(4)).applied(velocity, noised, level), velocity)
    assert torch.allclose(pulled(100.0)[:3], to[:3], atol=1e-5), "a strong pull leaves nothing but its image"
    assert torch.allclose(pulled(100.0)[3], predicted[3]), "at low levels there is none"
    moved, difference = pulled(0.5)[:3] - predicted[:3], (to - predicted)[:3]
    assert torch.allclose(moved, difference.clamp(-0.5, 0.5), atol=1e-5)


def test_a_stronger_pull_lands_nearer(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    field, scaled = bundle.part("matching", VelocityField), digits[0][:8] * 2 - 1
    one, zero = torch.ones(8), torch.zeros(8)
    condition = field.typical[(digits[1][:8] + 1) % 10]
    noise = torch.randn(scaled.shape, generator=torch.Generator().manual_seed(0))
    far = [
        (field.integrate(noise, one, zero, condition, steps=6, pull=Pull(scaled, weight * one)) - scaled).abs().mean()
        for weight in (0.0, 0.5, 2.0)
    ]
    assert far[0] > far[1] > far[2]


def test_typical_probabilities_are_distributions(bundle: Bundle):
    typical = bundle.part("matching", VelocityField).typical
    assert torch.allclose(typical.sum(dim=1), torch.ones(10), atol=1e-2)
    assert torch.equal(typical.argmax(dim=1), torch.arange(10))
