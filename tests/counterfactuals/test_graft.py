"""graft: composites refined into images that look real, and what becomes of those that cannot be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.engines.graft import FIRST_CELL, Graft
from cfx.counterfactuals.engines.swap import CellSwap
from cfx.counterfactuals.problem import ModelError
from cfx.errors import BundleError
from cfx.generative.donors import Donors, OfClass
from cfx.generative.velocity import VelocityField
from cfx.metrics.evaluate import score
from cfx.metrics.scene import Scene

MNIST = Path(__file__).parents[2] / "bundles" / "mnist"


class Enlarged:
    """A bundle's donors at four times their size."""

    def __init__(self, donors: Donors) -> None:
        self.donors = donors

    def of_label(self, label: int) -> OfClass:
        found = self.donors.of_label(label)
        return OfClass(F.interpolate(found.images, scale_factor=4.0), found.names, found.missing)


class Spoiling(VelocityField):
    """A velocity field that draws nothing but grey."""

    def forward(self, noised: Tensor, level: Tensor, condition: Tensor | None, dropped: Tensor | None = None) -> Tensor:
        return noised / level[:, None, None, None].clamp(min=1e-3)


class Lost(VelocityField):
    """A velocity field whose weights are lost."""

    def forward(self, noised: Tensor, level: Tensor, condition: Tensor | None, dropped: Tensor | None = None) -> Tensor:
        return torch.full_like(noised, float("nan"))


@pytest.fixture(scope="module")
def asked(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return digits[0][:24], (digits[1][:24] + 3) % 10


def test_what_is_melted_looks_real_and_judges_see_it(bundle: Bundle, asked: tuple[Tensor, Tensor]):
    images, targets = asked
    shares = {}
    for engine in (Graft, CellSwap):
        found = engine.from_bundle(bundle).search(bundle.classifier, images, targets)
        assert found.valid.all()
        scene = Scene.of(bundle, images, found.images, targets)
        columns = score(scene, frozenset(("looks_real", "judge_agrees"))).columns
        shares[engine.name] = {name: its.float().mean() for name, its in columns.items() if its is not None}
    assert shares["graft"]["judge_agrees"] >= 0.95
    assert shares["graft"]["looks_real"] >= 0.8 > 0.6 > shares["swap"]["looks_real"]


def test_cells_that_are_not_needed_are_put_back(bundle: Bundle, asked: tuple[Tensor, Tensor]):
    images, targets = asked
    all_cells, fewer = (
        Graft.from_bundle(bundle, bisections=count).search(bundle.classifier, images, targets) for count in (0, 3)
    )
    assert fewer.valid.all() and fewer.about is not None and all_cells.about is not None
    counts = torch.tensor([[len(of.about[row].regions) for of in (all_cells, fewer)] for row in range(len(images))])
    assert (counts[:, 1] <= counts[:, 0]).all() and (counts[:, 1] >= 1).all()
    assert counts[:, 1].sum() < counts[:, 0].sum()
    assert (fewer.images - images).abs().sum() < (all_cells.images - images).abs().sum()


def test_the_path_melts_first_and_then_puts_cells_in(bundle: Bundle, asked: tuple[Tensor, Tensor]):
    images, targets = asked[0][:6], asked[1][:6]
    found = Graft.from_bundle(bundle, bisections=0).search(bundle.classifier, images, targets, path=True)
    assert found.path is not None
    assert torch.equal(found.path[:, 0], images) and torch.equal(found.path[:, -1], found.images)
    changes = (found.path - images[:, None]).abs().sum(dim=(2, 3, 4)).mean(dim=0)
    first_cell = round(FIRST_CELL * 8)
    assert 0 < changes[1] < changes[first_cell] < changes[-1]


def test_a_composite_that_no_level_melts_is_the_answer(bundle: Bundle, asked: tuple[Tensor, Tensor]):
    images, targets = asked[0][:4], asked[1][:4]
    parts = {"donors": bundle.part("donors"), "matching": Spoiling(1, 28, 10).eval()}
    melted = Graft(**parts, bisections=0).search(bundle.classifier, images, targets)  # pyright: ignore[reportArgumentType]
    composite = CellSwap.from_bundle(bundle).search(bundle.classifier, images, targets)
    assert melted.valid.all()
    assert torch.equal(melted.images, composite.images)


def test_photographs_larger_than_the_field_change_smoothly(bundle: Bundle, asked: tuple[Tensor, Tensor]):
    images, targets = F.interpolate(asked[0][:8], scale_factor=4.0), asked[1][:8]
    classifier = nn.Sequential(nn.AvgPool2d(4), bundle.classifier)
    donors, matching = Enlarged(bundle.part("donors", Donors)), bundle.part("matching", VelocityField)
    engine = Graft(donors=donors, matching=matching, working=(28, 28))
    found = engine.search(classifier, images, targets)
    assert found.images.shape == images.shape
    assert found.valid.float().mean() >= 0.75
    assert found.about is not None
    assert all(region.x + region.width <= 112 for about in found.about for region in about.regions)
    assert max(region.x + region.width for about in found.about for region in about.regions) > 56


def test_a_velocity_that_is_nan_is_named(bundle: Bundle, asked: tuple[Tensor, Tensor]):
    engine = Graft(donors=bundle.part("donors", Donors), matching=Lost(1, 28, 10).eval())
    with pytest.raises(ModelError, match="the part matching returned NaN"):
        engine.search(bundle.classifier, asked[0][:2], asked[1][:2])


@pytest.mark.parametrize("part", ["matching", "donors"])
def test_a_bundle_without_a_part_says_which_command_makes_it(tmp_path: Path, part: str):
    shutil.copytree(MNIST, tmp_path / "mine")
    bundle = Bundle(tmp_path / "mine")
    bundle.update(parts={name: entry for name, entry in bundle.parts.items() if name != part})
    with pytest.raises(BundleError, match=rf"no part '{part}' .*; `cfx train .* --only {part}` makes it"):
        Graft.from_bundle(bundle)
