"""Regions: what lies outside stays exactly as it is, at the classifier's size and the photograph's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import cfx
from cfx.answers.asking import ask
from cfx.answers.given import as_picture
from cfx.answers.pipeline import AnswerOptions, answer_batch
from cfx.answers.question import Source
from cfx.answers.region import Allowed, Within, placed, where_it_changes
from cfx.answers.searching import NOTHING_INSIDE
from cfx.answers.wanted import Wanted
from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.registry import load_engine
from cfx.errors import ImageError, UsageError
from cfx.images.reading import carry_back
from cfx.images.resizing import Placement

FOUR = Path(__file__).parents[2] / "examples" / "four.png"
OPTIONS = AnswerOptions(metrics=frozenset(("l0", "l1")))


def painted(path: Path, size: tuple[int, int], box: tuple[int, int, int, int]) -> Path:
    """A mask of this size (width, height), light inside a box (left, top, right, bottom)."""
    values = np.zeros((size[1], size[0]), dtype=np.uint8)
    values[box[1] : box[3], box[0] : box[2]] = 255
    Image.fromarray(values).save(path)
    return path


def test_a_box_and_a_mask_of_it_are_the_same(tmp_path: Path):
    box = Allowed(box=(3, 5, 10, 4)).within("x", (28, 28), None)
    mask = Allowed(mask=painted(tmp_path / "m.png", (28, 28), (3, 5, 13, 9))).within("x", (28, 28), None)
    assert torch.equal(box.mask, mask.mask) and int(box.mask.sum()) == 40
    assert bool(box.mask[0, 5, 3]) and not bool(box.mask[0, 9, 3])
    assert box.share == pytest.approx(40 / 784)
    assert box.words == "region 3,5,10,4" and box.photo is None


def test_pixels_of_a_photograph_that_is_shrunk_and_padded():
    photo = np.zeros((100, 200), dtype=bool)
    photo[:, :100] = True  # the left half of a photograph that is twice as wide as high
    placement = Placement((200, 100), (0, 0, 200, 100), (0, 7, 28, 21))
    mask = placed(photo, placement, (28, 28))
    assert mask[7:21, :14].all() and mask.sum() == 14 * 14, "padding may not change"
    within = Within("x", torch.from_numpy(mask)[None])
    assert np.array_equal(within.in_photo(placement), photo), "where no mask of the photograph is known"


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((0, 0, 29, 4), r"region 0,0,29,4 \(x,y,width,height\) is not inside its 28x28 pixels"),
        ((27, 27, 2, 1), "region 27,27,2,1 .* is not inside its 28x28 pixels"),
        ((-1, 0, 4, 4), "region -1,0,4,4 .* is not inside its 28x28 pixels"),
    ],
)
def test_a_region_outside_the_image(box: tuple[int, int, int, int], says: str):
    with pytest.raises(UsageError, match=f"four: {says}"):
        Allowed(box=box).within("four", (28, 28), None)


def test_masks_that_cannot_be_meant(tmp_path: Path):
    with pytest.raises(UsageError, match=r"is 30x20 pixels and four is 28x28; they must be equal"):
        Allowed(mask=painted(tmp_path / "a.png", (30, 20), (0, 0, 5, 5))).within("four", (28, 28), None)
    with pytest.raises(UsageError, match="has no light pixel"):
        Allowed(mask=painted(tmp_path / "b.png", (28, 28), (0, 0, 0, 0))).within("four", (28, 28), None)
    (tmp_path / "c.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"c\.png"):
        Allowed(mask=tmp_path / "c.png").within("four", (28, 28), None)
    small = Placement((400, 400), (0, 0, 400, 400), (0, 0, 28, 28))
    with pytest.raises(UsageError, match="has no pixel of the 28x28 pixels that the classifier sees"):
        Allowed(box=(0, 0, 3, 3)).within("four", (28, 28), small)


def test_what_is_transparent_may_not_change_and_arrays_are_masks():
    alpha = np.zeros((28, 28), dtype=np.uint8)
    alpha[:14] = 255
    white = Image.merge("LA", (Image.new("L", (28, 28), 255), Image.fromarray(alpha)))
    of_alpha = Allowed(mask=white).within("x", (28, 28), None).mask
    assert of_alpha[0, :14].all() and not of_alpha[0, 14:].any()
    for array in (alpha, alpha > 0, alpha / 255, torch.from_numpy(alpha)[None]):
        assert torch.equal(Allowed(mask=as_picture(array)).within("x", (28, 28), None).mask, of_alpha)


def test_where_it_changes_is_around_the_largest_changes():
    factuals = torch.zeros(2, 1, 28, 28)
    found = factuals.clone()
    found[0, 0, 10, 10], found[0, 0, 25, 25] = 1.0, 0.1
    mask = where_it_changes(factuals, found)
    assert mask[0, 0, 8:13, 8:13].all() and int(mask[0].sum()) == 25
    assert not mask[1].any(), "nothing changed"


def test_in_the_photograph_too_nothing_changes_outside(tmp_path: Path):
    values = np.random.default_rng(0).integers(40, 200, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "photo.png")
    placement = Placement((120, 90), (15, 0, 105, 90), (0, 0, 30, 30))
    within = np.zeros((90, 120), dtype=bool)
    within[20:50, 30:70] = True
    change = torch.full((3, 30, 30), 0.2)
    found = np.asarray(carry_back(tmp_path / "photo.png", change, placement, within=within))
    assert np.array_equal(found[~within], values[~within])
    assert (found[within].astype(int) - values[within] == 51).all()


def test_python_changes_the_region_only(bundle: Bundle, tmp_path: Path):
    top = painted(tmp_path / "top.png", (28, 28), (0, 0, 28, 14))
    for how in ({"region": (0, 0, 28, 14)}, {"mask": top}):
        (answer,) = cfx.explain(FOUR, target=9, bundle=bundle, engine="leap", metrics=["l1"], **how)  # pyright: ignore[reportArgumentType]
        assert answer.valid
        changed = (answer.pictures.counterfactual - answer.pictures.factual).abs()
        assert changed[:, :14].sum() > 0 and changed[:, 14:].sum() == 0
        within = answer.as_json()["within"]
        assert isinstance(within, dict) and within["share"] == 0.5
    with pytest.raises(UsageError, match="region and mask contradict"):
        cfx.explain(FOUR, region=(0, 0, 2, 2), mask=top, bundle=bundle)
    with pytest.raises(UsageError, match=r"region: is \(1, 2\); give x, y, width and height"):
        cfx.explain(FOUR, region=(1, 2), bundle=bundle)


def test_a_mask_that_is_found_makes_fewer_pixels_change(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images = digits[0][:8]
    sources = [Source(name=str(place)) for place in range(8)]
    wanted = [Wanted()] * 8
    engine = load_engine("latent").from_bundle(bundle)
    plain = answer_batch(bundle, "latent", engine, ask(bundle, images, sources, wanted), OPTIONS)
    found = answer_batch(
        bundle, "latent", engine, ask(bundle, images, sources, wanted, finds_region=True), OPTIONS
    )  # fmt: skip
    assert all(answer.valid for answer in found)
    for before, after in zip(plain, found, strict=True):
        within = after.question.within
        assert (within is None) == (NOTHING_INSIDE in after.notes)
        if within is not None:
            outside = ~within.mask.expand_as(after.pictures.factual)
            assert torch.equal(after.pictures.factual[outside], after.pictures.counterfactual[outside])
        assert (after.cost.forward_calls or 0) > (before.cost.forward_calls or 0), "both searches count"
    assert sum(answer.question.within is not None for answer in found) >= 6
    changed = [sum(answer.value("l0") or 0.0 for answer in answers) for answers in (plain, found)]
    assert changed[1] < changed[0]
