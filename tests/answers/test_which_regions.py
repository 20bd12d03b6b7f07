"""Which regions suffice: what is claimed of cells holds when they alone may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import cfx
from cfx.answers.pictures.regions_panel import draw_regions
from cfx.answers.segments import CELLS
from cfx.bundles.bundle import Bundle
from cfx.images.resizing import Placement

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(("image", "target", "engine"), [("four", "9", "projection"), ("nine", "3", "vcnet")])
def test_the_smallest_set_suffices_and_each_of_its_cells_is_needed(
    bundle: Bundle, image: str, target: str, engine: str
):
    options: dict[str, Any] = {"target": target, "engine": engine, "bundle": bundle, "metrics": ["l1"]}
    (answer,) = cfx.explain(EXAMPLES / f"{image}.png", **options, regions=True)
    which = answer.which_regions
    assert which is not None and len(which.cells) == CELLS**2 and which.enough
    factual = answer.pictures.factual

    def mask_of(numbers: list[int]) -> Image.Image:
        mask = torch.zeros(28, 28, dtype=torch.uint8)
        for left, top, right, bottom in (which.cells[number].box for number in numbers):
            mask[top:bottom, left:right] = 255
        return Image.fromarray(mask.numpy())

    enough = [*which.enough]
    (again,) = cfx.explain(EXAMPLES / f"{image}.png", **options, mask=mask_of(enough))
    assert again.valid and again.value("l1") == pytest.approx(which.l1, abs=0.01)
    assert torch.equal(again.pictures.counterfactual, which.image)
    outside = torch.from_numpy(np.asarray(mask_of(enough)) == 0)[None]
    assert torch.equal(which.image[outside], factual[outside])
    for left_out in enough if len(enough) > 1 else []:
        rest = [number for number in enough if number != left_out]
        (fewer,) = cfx.explain(EXAMPLES / f"{image}.png", **options, mask=mask_of(rest))
        assert not fewer.valid
    shares = [cell.target_confidence for cell in which.cells if not cell.valid]
    assert shares == sorted(shares, reverse=True), "those that do not suffice: the likeliest first"


def test_a_cell_that_suffices_alone_comes_first(bundle: Bundle):
    options: dict[str, Any] = {"target": "3", "engine": "vcnet", "bundle": bundle, "confidence": 0.5, "metrics": ["l1"]}
    (answer,) = cfx.explain(EXAMPLES / "seven.png", **options, regions=True)
    which = answer.which_regions
    assert which is not None and which.enough == (0,)
    assert [cell.valid for cell in which.cells] == [True] + [False] * 15
    assert which.cells[0].l1 == which.l1 and which.cells[0].target_confidence == which.target_confidence >= 0.5
    assert draw_regions(answer, which).width > 3 * 224


def test_only_where_the_image_may_change(bundle: Bundle):
    options: dict[str, Any] = {"target": "9", "engine": "vcnet", "bundle": bundle, "metrics": ["l1"]}
    (answer,) = cfx.explain(EXAMPLES / "four.png", **options, region=(0, 0, 28, 3), regions=True)
    which = answer.which_regions
    assert which is not None and len(which.cells) == CELLS, "the cells of one row, cut to three pixels"
    assert which.enough is None and not answer.valid
    assert torch.equal(which.image[:, 3:], answer.pictures.factual[:, 3:])


def test_boxes_of_a_record_are_in_pixels_of_the_photograph(bundle: Bundle):
    (answer,) = cfx.explain(EXAMPLES / "four.png", target="9", engine="vcnet", bundle=bundle, regions=True, metrics=[])
    which = answer.which_regions
    assert which is not None
    cells: Any = which.as_json(Placement((280, 280), (0, 0, 280, 280), (0, 0, 28, 28)))["cells"]
    assert {(cell["w"], cell["h"]) for cell in cells} == {(70, 70)}
    assert answer.as_json()["which_regions"] == which.as_json(None)
