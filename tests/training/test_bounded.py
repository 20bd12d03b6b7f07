"""Bounded convolutions: no spectral norm above the limit, smaller ones as they are, and ordinary weights at the end."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from cfx.classifiers.spectral import SpectralNet
from cfx.images.sets.labelled import Labelled
from cfx.training.bounded import Bounded, bound_convolutions, release_convolutions
from cfx.training.classifier_fit import ClassifierFit


def norms(model: nn.Module) -> list[float]:
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
    return [float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)) for weight in weights]


@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
def test_a_weight_is_divided_only_where_it_is_too_large(factor: float):
    torch.manual_seed(0)
    weight = factor * torch.randn(8, 3, 3, 3)
    before = float(torch.linalg.matrix_norm(weight.flatten(1), 2))
    bounded = Bounded(weight, limit=2.0).eval()
    after = float(torch.linalg.matrix_norm(bounded(weight).flatten(1), 2))
    assert after == pytest.approx(min(before, 2.0), rel=0.02)
    if before < 2:
        assert torch.equal(bounded(weight), weight)


def test_trained_bounded_it_learns_and_stays_within_the_limit(digits: tuple[Tensor, Tensor]):
    data = Labelled((digits[0] * 255).byte(), digits[1])
    torch.manual_seed(0)
    model = SpectralNet(width=8)
    bound_convolutions(model, 0.5)  # below all initial norms
    fit = ClassifierFit(model, data, epochs=8, batch_size=50)
    fit.run()
    images = digits[0][::4]
    with torch.no_grad():
        trained = model(images)
    release_convolutions(model)
    assert not parametrize.is_parametrized(model) and 0.45 < max(norms(model)) <= 0.5 * 1.05
    with torch.no_grad():
        assert torch.allclose(model(images), trained, atol=1e-4)
    assert float((trained.argmax(dim=1) == digits[1][::4]).float().mean()) > 0.7
    fresh = SpectralNet(width=8)
    fresh.load_state_dict(model.state_dict())


def test_any_size_of_images():
    for height, width in ((28, 28), (33, 47), (64, 64)):
        assert SpectralNet(channels=3, classes=4)(torch.rand(2, 3, height, width)).shape == (2, 4)
