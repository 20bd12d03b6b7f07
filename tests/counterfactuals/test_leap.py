"""leap: a path that begins at the factual, levels that are shared, the pull of the factual, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.engines.leap import Leap, LiftedStates
from cfx.counterfactuals.goal import TargetClass
from cfx.counterfactuals.problem import ModelError, Problem
from cfx.counterfactuals.request import SearchRequest
from cfx.errors import BundleError
from cfx.generative.velocity import VelocityField

MNIST = Path(__file__).parents[2] / "bundles" / "mnist"


class Counted(VelocityField):
    """Counts the images that pass through a velocity field."""

    seen = 0

    def forward(self, noised: Tensor, level: Tensor, condition: Tensor | None, dropped: Tensor | None = None) -> Tensor:
        self.seen += len(noised)
        return super().forward(noised, level, condition, dropped)


class Lost(VelocityField):
    """A velocity field whose weights are lost."""

    def forward(self, *arguments: object) -> Tensor:
        return torch.full((6, 1, 28, 28), float("nan"))[: len(arguments[0])]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fours(digits: tuple[Tensor, Tensor]) -> Tensor:
    images, labels = digits
    return images[labels == 4][:3]


def test_the_digit_that_comes_out_is_seen_by_judges_and_looks_real(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images, labels = digits[0][:24], digits[1][:24]
    targets = (labels + 3) % 10
    found = Leap.from_bundle(bundle).search(bundle.classifier, images, targets)
    assert found.valid.all()
    assert (bundle.part("judge")(found.images).argmax(dim=1) == targets).float().mean() > 0.95
    assert (found.images == images).float().mean() > 0.4, "what need not change stays as it is"


def test_more_bisections_are_nearer(bundle: Bundle, fours: Tensor):
    targets = torch.full((3,), 9)
    far, near = (
        Leap.from_bundle(bundle, bisections=count).search(bundle.classifier, fours, targets) for count in (0, 4)
    )
    assert near.valid.all()
    assert (near.images - fours).abs().sum() < (far.images - fours).abs().sum()


def test_pulled_answers_are_nearer_and_keep_the_margin(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images, targets = digits[0][:16], (digits[1][:16] + 3) % 10
    free, pulled = (
        Leap.from_bundle(bundle, **settings).search(bundle.classifier, images, targets)
        for settings in ({"pull": 0.0, "bisections": 0}, {})
    )
    nearer = (pulled.images - images).abs().sum(dim=(1, 2, 3)) < (free.images - images).abs().sum(dim=(1, 2, 3))
    assert nearer.float().mean() > 0.8
    moved = (pulled.images != free.images).flatten(1).any(dim=1)
    assert moved.any() and (pulled.confidence[moved] >= 0.95).all(), "halfway from 0.9 to certainty"


def test_questions_about_one_image_share_its_lift(bundle: Bundle, fours: Tensor):
    field = Counted(1, 28, 10)
    field.load_state_dict(bundle.part("matching").state_dict())
    engine = Leap(matching=field.eval())
    costs = []
    for images in (fours[:1], fours[:1].repeat(3, 1, 1, 1)):
        goal = TargetClass(torch.arange(len(images)), 0.9)
        problem = Problem(bundle.classifier, SearchRequest(images=images, targets=goal.targets), goal)
        field.seen = 0
        with torch.no_grad():
            LiftedStates(engine, problem).lifted(2, problem.every_row())
        costs.append(field.seen)
    assert costs[0] == costs[1]


def test_a_velocity_that_is_nan_is_named(bundle: Bundle, fours: Tensor):
    with pytest.raises(ModelError, match="the part matching returned NaN"):
        Leap(matching=Lost(1, 28, 10).eval()).search(bundle.classifier, fours, torch.full((3,), 9))


@pytest.mark.parametrize(
    "stored", [torch.zeros(10, 10), torch.eye(10) * 2, torch.eye(10) * 3 - 0.2, torch.full((10, 10), torch.nan)]
)
def test_conditions_that_are_no_probabilities_are_named(bundle: Bundle, fours: Tensor, stored: Tensor):
    field = VelocityField(1, 28, 10).eval()
    field.typical.copy_(stored)
    with pytest.raises(ModelError, match="conditioned on what are no probabilities: train it anew"):
        Leap(matching=field).search(bundle.classifier, fours, torch.full((3,), 9))


def test_seventy_classes(bundle: Bundle, fours: Tensor):
    def many(images: Tensor) -> Tensor:
        return torch.nn.functional.pad(bundle.classifier(images), (0, 60), value=-40.0)

    field = VelocityField(1, 28, 70)
    with torch.no_grad():  # the shipped field with conditions of zero for sixty more classes
        own, shipped = field.state_dict(), bundle.part("matching").state_dict()
        wide = own["of_condition.0.weight"].zero_()
        wide[:, :10], wide[:, 70:80] = shipped["of_condition.0.weight"].split(10, dim=1)
        typical = torch.eye(70)
        typical[:10, :10] = shipped["typical"]
        field.load_state_dict(shipped | {"of_condition.0.weight": wide, "typical": typical})
    targets = torch.tensor([9, 9, 65])
    found = Leap(matching=field.eval()).search(many, fours, targets)
    assert found.valid.tolist() == [True, True, False], "a class that cannot be reached is an answer, too"


def test_a_bundle_without_the_part_says_which_command_makes_it(tmp_path: Path):
    shutil.copytree(MNIST, tmp_path / "mine")
    bundle = Bundle(tmp_path / "mine")
    bundle.update(parts={name: entry for name, entry in bundle.parts.items() if name != "matching"})
    with pytest.raises(BundleError, match=r"no part 'matching' .*; `cfx train .* --only matching` makes it"):
        Leap.from_bundle(bundle)
