"""deduce: the density of the classifier's features, and the few pixels that it changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.engine import Counterfactuals
from cfx.counterfactuals.engines.deduce import Densities, DensityEdits, relative, shrunk
from cfx.counterfactuals.goal import TargetClass
from cfx.counterfactuals.problem import ModelError, NothingToOffer, Problem
from cfx.counterfactuals.request import SearchRequest
from cfx.generative.donors import Donors, OfClass


class Without:
    """The donors of a bundle without those of some labels."""

    def __init__(self, donors: Donors, *left_out: int) -> None:
        self.donors = donors
        self.left_out = left_out

    def of_label(self, label: int) -> OfClass:
        found = self.donors.of_label(label)
        return OfClass(found.images[:0], [], f"no images of {label}") if label in self.left_out else found


@pytest.fixture(scope="module")
def asked(bundle: Bundle, digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Forty digits, and the runner-up class of each."""
    images = digits[0][::10]
    return images, bundle.classifier(images).topk(2, dim=1).indices[:, 1]


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> DensityEdits:
    return DensityEdits.from_bundle(bundle)


@pytest.fixture(scope="module")
def found(bundle: Bundle, engine: DensityEdits, asked: tuple[Tensor, Tensor]) -> Counterfactuals:
    return engine.search(bundle.classifier, *asked)


@pytest.fixture(scope="module")
def densities(engine: DensityEdits, found: Counterfactuals) -> Densities:
    """Those that the engine computed in its search."""
    (densities,) = engine._known
    return densities


# Densities.


def test_a_covariance_is_shrunk_the_more_the_fewer_the_samples():
    generator = torch.Generator().manual_seed(0)
    scales = torch.linspace(0.1, 2, 20, dtype=torch.float64)
    gaps = []
    for count in (5, 50, 5000):
        samples = torch.randn(count, 20, generator=generator, dtype=torch.float64) * scales
        plain = samples.T @ samples / count
        found = shrunk(plain, count)
        assert torch.isclose(found.trace(), plain.trace())
        assert torch.linalg.eigvalsh(found).min() > 0
        true = scales.square().diag()
        assert torch.dist(found, true) <= torch.dist(plain, true) * 1.01
        gaps.append(float(torch.dist(found, plain) / plain.norm()))
    assert gaps[0] > gaps[1] > gaps[2]


def test_one_donor_a_class_is_enough_for_a_density():
    densities = Densities.of({0: torch.zeros(1, 3), 2: torch.ones(1, 3)}, 3)
    costs = densities.costs(torch.tensor([[0.1, 0.0, 0.0]]).repeat(3, 1), torch.arange(3))
    assert torch.isfinite(costs).all() and costs[1] == 0 and costs[0] < costs[2]


def test_real_digits_are_most_typical_of_their_own_class(
    bundle: Bundle, densities: Densities, digits: tuple[Tensor, Tensor]
):
    images, labels = digits
    problem = Problem(bundle.classifier, SearchRequest(images=images, targets=labels), TargetClass(labels, 0.9))
    features, _ = problem.features(images, problem.every_row())
    costs = torch.stack([densities.costs(features, torch.full_like(labels, label)) for label in range(10)], dim=1)
    assert (costs.argmin(dim=1) == labels).float().mean() > 0.95


def test_the_gradient_of_a_relative_loss_is_that_of_its_logarithm():
    value = torch.tensor([0.5, 8.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(relative(3 * value).sum(), value)
    assert torch.allclose(gradient, 1 / value)


# The search.


def test_few_pixels_are_enough(found: Counterfactuals, asked: tuple[Tensor, Tensor]):
    assert found.valid.float().mean() >= 0.9
    assert ((found.images - asked[0]).abs() > 1.5 / 255).flatten(1).sum(dim=1).float().mean() < 40


def test_the_features_become_more_typical_of_the_target(
    bundle: Bundle, found: Counterfactuals, densities: Densities, asked: tuple[Tensor, Tensor]
):
    images, targets = asked
    problem = Problem(bundle.classifier, SearchRequest(images=images, targets=targets), TargetClass(targets, 0.9))
    before, after = (
        densities.costs(problem.features(each, problem.every_row())[0], targets) for each in (images, found.images)
    )
    assert (after < before).float().mean() > 0.9


def test_the_density_guides_the_search(bundle: Bundle, densities: Densities, asked: tuple[Tensor, Tensor]):
    """With more weight on the density, the features end up more typical."""
    images, targets = (values[:12] for values in asked)
    costs = []
    for weight in (0.3, 1000.0):
        engine = DensityEdits.from_bundle(bundle, class_weight=weight, undo_rounds=0)
        found = engine.search(bundle.classifier, images, targets)
        problem = Problem(bundle.classifier, SearchRequest(images=images, targets=targets), TargetClass(targets, 0.9))
        features, _ = problem.features(found.images, problem.every_row())
        costs.append(float(densities.costs(features, targets).mean()))
    assert costs[0] < costs[1]


def test_donors_are_looked_at_once_and_not_counted(
    bundle: Bundle, found: Counterfactuals, engine: DensityEdits, asked: tuple[Tensor, Tensor]
):
    seen: list[int] = []
    images, targets = (values[:2] for values in asked)
    again = engine.search(bundle.classifier, images, targets, watch=seen.append)
    fresh = DensityEdits.from_bundle(bundle).search(bundle.classifier, images, targets, watch=seen.append)
    assert torch.equal(again.forward_calls, fresh.forward_calls)
    assert torch.equal(again.images, fresh.images)
    assert max(seen) == int(fresh.forward_calls.sum())
    assert torch.equal(again.forward_calls > 0, torch.tensor([True, True]))


def test_a_class_without_donors_is_searched_by_its_confidence_alone(bundle: Bundle, asked: tuple[Tensor, Tensor]):
    images, targets = (values[:4] for values in asked)
    missing = int(targets[0])
    engine = DensityEdits(donors=Without(bundle.part("donors", Donors), missing))
    found = engine.search(bundle.classifier, images, targets)
    assert found.valid.all() and found.about is not None
    for target, about in zip(targets.tolist(), found.about, strict=True):
        expected = f"deduce: only the classifier's confidence guided the search: no images of {missing}"
        assert about.notes == ((expected,) if target == missing else ())


def test_without_any_donors_there_is_nothing_to_offer(bundle: Bundle, asked: tuple[Tensor, Tensor]):
    engine = DensityEdits(donors=Without(bundle.part("donors", Donors), *range(10)))
    with pytest.raises(NothingToOffer, match="no images of"):
        engine.search(bundle.classifier, *asked)


def test_a_classifier_without_features_is_refused(bundle: Bundle, asked: tuple[Tensor, Tensor]):
    with pytest.raises(ModelError, match="no linear layer"):
        DensityEdits.from_bundle(bundle).search(lambda images: bundle.classifier(images), *asked)
