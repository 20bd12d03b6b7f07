"""The parts of the contract that can be checked by hand: tightening, rounding, refusals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.curve import Curve
from cfx.counterfactuals.engine import Engine
from cfx.counterfactuals.goal import TargetClass
from cfx.counterfactuals.problem import ModelError, Problem, as_written, clamped
from cfx.counterfactuals.request import SearchRequest
from cfx.counterfactuals.tightening import tighten
from cfx.errors import UsageError


class Brightness(nn.Module):
    """Two classes, dark and light: logits (0, 40 * (mean - 0.5))."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        light = 40 * (images.mean(dim=(1, 2, 3)) - 0.5)
        return torch.stack([torch.zeros_like(light), light], dim=1)


@dataclass(frozen=True, kw_only=True)
class Brighten(Engine):
    """The shortest engine there is: the curve from the image to a white one."""

    name: ClassVar[str] = "brighten"
    summary: ClassVar[str] = "make it white"
    paper: ClassVar[str] = "none"

    def find(self, problem: Problem) -> Curve:
        return Curve(
            lambda t, rows: torch.lerp(problem.images[rows], torch.ones(()), t.view(-1, 1, 1, 1)),
            bisections=7,
        )


def black(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(count, 1, 8, 8), torch.ones(count, dtype=torch.int64)


def test_tightening_finds_the_analytic_boundary():
    images, targets = black(3)
    found = Brighten(confidence=0.9).search(Brightness(), images, targets)
    # sigmoid(40 (m - 0.5)) = 0.9  =>  m = 0.5 + ln(9) / 40
    boundary = 0.5 + math.log(9) / 40
    assert found.valid.all()
    assert (found.images.mean(dim=(1, 2, 3)) >= boundary).all()
    assert (found.images.mean(dim=(1, 2, 3)) <= boundary + 2**-7 + 1 / 255).all()
    assert (found.forward_calls == 1 + 7).all() and (found.backward_calls == 0).all()


def test_a_search_says_how_many_evaluations_it_made():
    said: list[int] = []
    found = Brighten().search(Brightness(), *black(2), watch=said.append)
    assert said == sorted(said) and said[-1] == int(found.forward_calls.sum())


def test_the_grid_finds_an_early_island_that_bisection_would_miss():
    images, targets = black(1)
    problem = Problem(Brightness(), SearchRequest(images=images, targets=targets), TargetClass(targets, 0.9))

    def draw(t: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        # light near 0.3, dark from 0.4 to 0.8, light at the end
        light = ((t - 0.3).abs() < 0.06) | (t > 0.8)
        return light.float().view(-1, 1, 1, 1).expand(-1, 1, 8, 8)

    t, found = tighten(problem, Curve(draw, grid=[n / 10 for n in range(1, 10)], bisections=4))
    assert found.valid.all()
    assert 0.24 <= float(t) <= 0.3
    alone, _ = tighten(problem, Curve(draw, bisections=4))
    assert float(alone) > 0.8


def test_rows_that_are_not_valid_stay_at_their_end():
    images, _ = black(2)
    targets = torch.tensor([1, 0])
    found = Brighten().search(Brightness(), images, targets)
    assert found.valid.tolist() == [True, False]
    assert torch.equal(found.images[1], torch.ones(1, 8, 8))
    assert found.confidence[1] < 1e-6


def test_what_is_written_is_rounded_to_8_bits():
    written = as_written(torch.tensor([-0.5, 0.2499, 0.25, 1.7]))
    assert torch.equal(written * 255, torch.tensor([0.0, 64.0, 64.0, 255.0]))


def test_clamping_passes_gradients_on():
    images = torch.full((1, 1, 2, 2), 1.3, requires_grad=True)
    inside = clamped(images)
    assert torch.allclose(inside, torch.ones(1, 1, 2, 2))
    inside.sum().backward()
    assert torch.equal(images.grad, torch.ones_like(images))


def test_nan_from_a_classifier_is_named():
    images, targets = black(1)

    def broken(batch: torch.Tensor) -> torch.Tensor:
        return torch.full((len(batch), 2), float("nan"))

    with pytest.raises(ModelError, match="NaN or infinity: check its weights"):
        Brighten().search(broken, images, targets)


@pytest.mark.parametrize(
    ("images", "targets", "message"),
    [
        (torch.zeros(1, 8, 8), torch.zeros(1, dtype=torch.int64), "must be \\(N, C, H, W\\) float32"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.float64), torch.zeros(1, dtype=torch.int64), "float32"),
        (torch.full((1, 1, 8, 8), 2.0), torch.zeros(1, dtype=torch.int64), "must lie in \\[0, 1\\]"),
        (torch.full((1, 1, 8, 8), float("nan")), torch.zeros(1, dtype=torch.int64), "must lie in \\[0, 1\\]"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(1, dtype=torch.int64), "targets must be \\(2,\\) int64"),
        (torch.zeros(1, 1, 8, 8), torch.zeros(1), "targets must be \\(1,\\) int64"),
    ],
)
def test_wrong_input_is_refused(images, targets, message):
    with pytest.raises(UsageError, match=message):
        Brighten().search(Brightness(), images, targets)


def test_tightening_stays_on_the_side_that_the_engine_stands_by(bundle: Bundle, digits):
    images, labels = digits
    factuals, targets = images[labels == 4][:4], torch.full((4,), 9)
    ends = images[labels == 9][:4]

    def blend(t, rows):
        return torch.lerp(factuals[rows], ends[rows], t[:, None, None, None])

    for grid in ((), (0.25, 0.5, 0.75)):
        problem = Problem(bundle.classifier, SearchRequest(images=factuals, targets=targets), TargetClass(targets, 0.5))
        free, _ = tighten(problem, Curve(blend, grid=grid))
        held, found = tighten(problem, Curve(blend, grid=grid, accept=lambda t, rows: t >= 0.9))
        assert (free < 0.9).all() and (held >= 0.9).all() and found.valid.all()
        never, _ = tighten(problem, Curve(blend, grid=grid, accept=lambda t, rows: t > 1))
        assert (never == 1).all(), "the end is kept where nothing else will do"
        _, sure = tighten(problem, Curve(blend, grid=grid, least=0.8))
        assert (sure.confidence >= 0.8).all(), "the least confidence is kept"
