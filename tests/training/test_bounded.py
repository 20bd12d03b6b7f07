"""Bounded convolutions: no spectral norm above the limit, smaller ones as they are, and ordinary weights at the end."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from cfx.classifiers.spectral import SpectralNet
from cfx.images.sets.labelled import Labelled
from cfx.training.bounded import Bounded, bound_convolutions, release_convolutions, spectral_norms
from cfx.training.classifier_fit import ClassifierFit


def exact_norm(layer: nn.Conv2d, weight: Tensor, size: tuple[int, int, int]) -> float:
    """The largest singular value of the convolution, written out as a matrix."""
    units = torch.eye(math.prod(size)).view(-1, *size)
    rows = F.conv2d(units, weight, stride=layer.stride, padding=layer.padding).flatten(1)
    return float(torch.linalg.matrix_norm(rows, 2))


@pytest.mark.parametrize("stride, size", [(1, (3, 8, 8)), (2, (3, 8, 8)), (2, (3, 7, 9))])
@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
def test_a_convolution_is_divided_only_where_its_norm_is_too_large(
    factor: float, stride: int, size: tuple[int, int, int]
):
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 6, 3, stride, padding=1, bias=False)
    with torch.no_grad():
        layer.weight *= factor
    weight = layer.weight.detach()
    before = exact_norm(layer, weight, size)
    bounded = Bounded(layer, torch.Size(size), limit=2.0)
    for _ in range(30):  # steps of training
        bounded(weight)
    bounded.eval()
    assert exact_norm(layer, bounded(weight), size) == pytest.approx(min(before, 2.0), rel=0.02)
    if before < 2:
        assert torch.equal(bounded(weight), weight)


def test_two_passes_before_one_gradient():
    layer = nn.Conv2d(1, 4, 3, padding=1)
    bound_convolutions(nn.Sequential(layer), 0.1, torch.rand(1, 1, 8, 8))
    (layer(torch.rand(2, 1, 8, 8)).sum() + layer(torch.rand(2, 1, 8, 8)).sum()).backward()
    weight = layer.parametrizations["weight"].original  # pyright: ignore
    assert bool(torch.isfinite(weight.grad).all()) and float(weight.grad.abs().sum()) > 0


def test_the_norms_of_a_model_are_those_of_its_convolutions_on_images_of_that_size():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, 2, padding=1))
    first, last = model[0], model[2]
    assert isinstance(first, nn.Conv2d) and isinstance(last, nn.Conv2d)
    exact = [exact_norm(first, first.weight.detach(), (1, 9, 8)), exact_norm(last, last.weight.detach(), (4, 9, 8))]
    assert spectral_norms(model, torch.rand(2, 1, 9, 8)) == pytest.approx(exact, rel=0.01)
    assert exact[1] > float(torch.linalg.matrix_norm(last.weight.detach().flatten(1), 2))


def test_trained_bounded_it_learns_and_stays_within_the_limit(digits: tuple[Tensor, Tensor]):
    data = Labelled((digits[0] * 255).byte(), digits[1])
    torch.manual_seed(0)
    model = SpectralNet(width=8)
    images = digits[0][::4]
    bound_convolutions(model, 0.8, images)
    assert min(spectral_norms(SpectralNet(width=8), images)) > 0.8, "all start above the limit"
    fit = ClassifierFit(model, data, epochs=8, batch_size=50)
    fit.run()
    with torch.no_grad():
        trained = model(images)
    release_convolutions(model)
    assert not parametrize.is_parametrized(model) and 0.75 < max(spectral_norms(model, images)) <= 0.8 * 1.1, (
        "one power iteration a step"
    )
    with torch.no_grad():
        assert torch.allclose(model(images), trained, atol=1e-4)
    assert float((trained.argmax(dim=1) == digits[1][::4]).float().mean()) > 0.7
    fresh = SpectralNet(width=8)
    fresh.load_state_dict(model.state_dict())


def test_any_size_of_images():
    for height, width in ((28, 28), (33, 47), (64, 64)):
        assert SpectralNet(channels=3, classes=4)(torch.rand(2, 3, height, width)).shape == (2, 4)
