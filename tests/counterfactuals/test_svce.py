"""svce: the linear step is optimal, balls are kept, and what it finds is what the classifier's gradients mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from cfx.bundles.bundle import Bundle, load_bundle
from cfx.counterfactuals.engines.svce import P, SparseVCE, linear_step, within_ball


def norm(change: Tensor) -> Tensor:
    """The norm L1.5 of each row."""
    return change.flatten(1).abs().pow(P).sum(dim=1).pow(1 / P)


@pytest.mark.parametrize("seed", range(12))
def test_the_linear_step_is_the_one_that_scipy_finds(seed: int):
    random = torch.Generator().manual_seed(seed)
    favour, images = torch.randn(1, 12, generator=random), torch.rand(1, 12, generator=random)
    images[0, :2] = torch.tensor([0.0, 1.0])
    favour[0, 3] = 0.0
    radius = 0.2 + 4 * torch.rand(1, generator=random)
    found = linear_step(favour, images, radius)
    assert bool(((images + found >= -1e-6) & (images + found <= 1 + 1e-6)).all())
    assert float(norm(found)) <= float(radius) * (1 + 1e-5) and float(found[0, 3]) == 0
    weights, size = favour[0].double().numpy(), float(radius)
    best = minimize(
        lambda change: -change @ weights,
        np.zeros(12),
        jac=lambda change: -weights,
        bounds=[(-float(value), 1 - float(value)) for value in images[0]],
        constraints=[{"type": "ineq", "fun": lambda change: size**P - (np.abs(change) ** P).sum()}],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-10},
    )
    assert float((favour * found).sum()) == pytest.approx(-best.fun, rel=1e-4)


def test_steps_in_a_batch_are_those_of_each_row():
    random = torch.Generator().manual_seed(3)
    favour, images = torch.randn(5, 40, generator=random), torch.rand(5, 40, generator=random)
    favour[4] = 0
    radius = torch.tensor([0.1, 1.0, 3.0, 100.0, 1.0])
    together = linear_step(favour, images, radius)
    alone = [linear_step(favour[row : row + 1], images[row : row + 1], radius[row : row + 1]) for row in range(5)]
    assert torch.equal(together, torch.cat(alone))
    room = torch.where(favour > 0, 1 - images, -images)
    assert torch.allclose(together[3], room[3]), "a large ball holds the whole box"
    assert bool((together[4] == 0).all()), "no direction, no step"
    assert norm(within_ball(room, radius))[:2].tolist() == pytest.approx([0.1, 1.0])


def test_answers_lie_in_the_ball_and_no_smaller_one_holds_any(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images, targets = digits[0][::50], (digits[1][::50] + 1) % 10
    engine = SparseVCE.from_bundle(bundle, radii=(6.0, 24.0), bisections=3, max_steps=25)
    found = engine.search(bundle.classifier, images, targets)
    assert bool(found.valid.all())
    lengths = norm(found.images - images)
    assert bool((lengths <= 24.0).all())
    fixed = replace(engine, radii=(6.0,), bisections=0)
    small = fixed.search(bundle.classifier, images, targets)
    assert bool((norm(small.images - images) <= 6.0 * 1.01).all())
    assert bool((lengths[small.valid] <= 6.0 * 1.01).all())
    assert bool((found.steps <= 25 * (2 + 3)).all())


@pytest.mark.parametrize("other", [False, True])
def test_a_robust_classifier_shows_what_its_classes_look_like(digits: tuple[Tensor, Tensor], other: bool):
    """The first judge sees the target in most of a robust classifier's answers, and in hardly any of the other's."""
    bundle = load_bundle("mnist", explained="robust_classifier" if other else "classifier")
    images, targets = digits[0][::13], (digits[1][::13] + 2) % 10
    engine = SparseVCE.from_bundle(bundle, confidence=0.99, radii=(6.0, 12.0, 24.0), bisections=1, max_steps=30)
    found = engine.search(bundle.classifier, images, targets)
    judged = bundle.part("judge")(found.images[found.valid]).argmax(dim=1) == targets[found.valid]
    assert float(found.valid.float().mean()) > 0.9
    assert (float(judged.float().mean()) > 0.6) if other else (float(judged.float().mean()) < 0.2)
