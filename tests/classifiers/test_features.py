"""Penultimate features: what the last linear layer gets, through the problem, counted and with gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.goal import TargetClass
from cfx.counterfactuals.problem import ModelError, Problem
from cfx.counterfactuals.request import SearchRequest


def asked(classifier, images: Tensor) -> Problem:
    goal = TargetClass(torch.zeros(len(images), dtype=torch.int64), 0.9)
    return Problem(classifier, SearchRequest(images=images, targets=goal.targets), goal)


def test_the_logits_are_the_last_layer_of_the_features(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images = digits[0][:5]
    problem = asked(bundle.classifier, images)
    features, log_probabilities = problem.features(images, problem.every_row())
    (last,) = [each for each in bundle.classifier.modules() if isinstance(each, nn.Linear) and each.out_features == 10]
    assert torch.allclose(last(features).log_softmax(dim=1), log_probabilities, atol=1e-5)
    assert torch.equal(problem.forward_calls, torch.ones(5, dtype=torch.int64))
    assert not last._forward_pre_hooks and not last._forward_hooks


def test_gradients_flow_to_the_image(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images = digits[0][:2].clone().requires_grad_()
    features, _ = asked(bundle.classifier, digits[0][:2]).features(images, torch.arange(2))
    (gradient,) = torch.autograd.grad(features.sum(), images)
    assert gradient.abs().sum() > 0


def test_a_layer_that_sees_every_position_gives_the_mean():
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(16, 10))
    classifier = nn.Sequential(tokens, nn.AdaptiveAvgPool2d((1, 10)), nn.Flatten())
    images = torch.rand(2, 3, 4, 4)
    features, _ = asked(classifier, images).features(images, torch.arange(2))
    assert torch.allclose(features, images.flatten(2).mean(dim=1))


@pytest.mark.parametrize(
    "classifier", [lambda images: images.flatten(1)[:, :10], nn.Sequential(nn.Conv2d(1, 10, 28), nn.Flatten())]
)
def test_a_classifier_without_a_linear_layer_is_refused_in_a_sentence(classifier, digits: tuple[Tensor, Tensor]):
    images = digits[0][:1]
    with pytest.raises(ModelError, match=r"no linear layer .* use an engine that reads none, such as swap"):
        asked(classifier, images).features(images, torch.arange(1))
