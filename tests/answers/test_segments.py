"""Segments of an image: they cover it, do not overlap, and are where the photograph has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import cfx
from cfx.answers.pictures.panel import outline_mask
from cfx.answers.pictures.regions_panel import draw_regions
from cfx.answers.segments import Drawn, Segment, Segments, Superpixels, segments_of
from cfx.bundles.bundle import Bundle
from cfx.errors import UsageError
from cfx.images.resizing import Placement
from cfx.images.writing import to_picture

EXAMPLES = Path(__file__).parents[2] / "examples"
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def bands(width: int, height: int) -> Image.Image:
    """A picture of three upright bands, a quarter, a quarter and a half of the width."""
    picture = Image.new("RGB", (width, height), WHITE)
    picture.paste(RED, (0, 0, width // 4, height))
    picture.paste(BLUE, (width // 4, 0, width // 2, height))
    return picture


def counted(segments: list[Segment]) -> Tensor:
    """In how many segments each pixel is."""
    return torch.stack([segment.mask for segment in segments]).sum(dim=0)


def colour(width: int, height: int) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("how", [Segments(), Superpixels(), Drawn.read(bands(28, 28))], ids=["grid", "slic", "drawn"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_is_in_one_segment(how: Segments, channels: int, digits: tuple[Tensor, Tensor]):
    segments = how.of(digits[0][0].expand(channels, 28, 28), None)
    assert bool((counted(segments) == 1).all()) and 2 <= len(segments) <= 40
    assert all(bool(segment.mask.any()) for segment in segments)


def test_superpixels_follow_what_is_seen():
    image = torch.zeros(3, 64, 64)
    image[:, :, 24:] = torch.tensor([0.9, 0.5, 0.2])[:, None, None]
    segments = Superpixels().of(image, None)
    mixed = sum(min(int(s.mask[:, :24].sum()), int(s.mask[:, 24:].sum())) for s in segments)
    assert len(segments) > 4 and mixed < 0.02 * 64 * 64, "no segment crosses the edge"
    mixed = sum(min(int(s.mask[:, :24].sum()), int(s.mask[:, 24:].sum())) for s in Segments().of(image, None))
    assert mixed > 0.1 * 64 * 64, "the cells of a grid do"


def test_a_drawn_segment_is_where_the_photograph_has_it():
    drawn = Drawn.read(bands(80, 40))
    drawn.check("photo", (80, 40))
    placement = Placement((80, 40), (0, 0, 80, 40), (0, 8, 32, 24))
    segments = {segment.colour: segment for segment in drawn.of(torch.zeros(3, 32, 32), placement)}
    assert set(segments) == {"#ff0000", "#0000ff", "#ffffff"}
    assert segments["#ff0000"].box == (0, 8, 8, 24) and segments["#ffffff"].box == (16, 8, 32, 24)
    assert int(counted([*segments.values()]).sum()) == 32 * 16, "nothing is around the photograph"
    cropped = Placement((80, 40), (20, 0, 60, 40), (0, 0, 32, 32))
    found = drawn.of(torch.zeros(3, 32, 32), cropped)
    boxes = {segment.colour: segment.box for segment in found}
    assert boxes == {"#0000ff": (0, 0, 16, 32), "#ffffff": (16, 0, 32, 32)}


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (bands(27, 28), "segments: is 27x28 pixels and four.png is 28x28; they must be equal"),
        (Image.new("RGB", (28, 28), RED), "1 colours; draw each of 2 to 100 regions in a colour of its own"),
        (to_picture(colour(28, 28)), "784 colours; draw each of 2 to 100 regions"),
        (Image.new("I;16", (28, 28)), "segments: 1 different values; give each of 2 to 100 regions a value of its own"),
    ],
    ids=["size", "one", "many", "deep"],
)
def test_a_picture_that_is_no_segmentation(picture: Image.Image, says: str):
    with pytest.raises(UsageError, match=says):
        Drawn.read(picture).check("four.png", (28, 28))


def test_a_segment_too_small_for_the_classifier_is_told(bundle: Bundle, tmp_path: Path):
    picture = bands(280, 280)
    picture.putpixel((200, 200), (0, 255, 0))
    Image.open(EXAMPLES / "four.png").resize((280, 280)).save(tmp_path / "photo.png")
    options = {"target": "9", "engine": "projection", "bundle": bundle, "metrics": ["l1"]}
    (answer,) = cfx.explain(tmp_path / "photo.png", **options, regions=picture)
    assert answer.which_regions is not None and len(answer.which_regions.cells) == 3
    note = "not searched: segments #00ff00, too small or thin for the pixels of the image that the classifier takes"
    assert note in answer.notes


def test_the_border_of_a_mask_is_closed_at_the_edge_of_the_image():
    picture = Image.new("RGB", (40, 40), WHITE)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[:, :2] = True
    outline_mask(picture, mask, 10, RED)
    drawn = np.asarray(picture)[:, :, 1] == 0
    assert all(bool(side.all()) for side in (drawn[0, :20], drawn[-1, :20], drawn[:, 0], drawn[:, 20]))
    assert int(drawn.sum()) < 40 * 40 / 4


def test_what_can_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bands(28, 28).save(tmp_path / "bands.png")
    found = segments_of(tmp_path / "bands.png")
    assert isinstance(found, Drawn) and len(np.unique(found.colours)) == 3
    assert isinstance(segments_of("slic"), Superpixels) and type(segments_of(True)) is Segments
    with pytest.raises(UsageError, match="segments gird: no such file; give a picture of the regions, grid or slic"):
        segments_of("gird")
    with pytest.raises(UsageError, match="segments: a int; give grid, slic, or a picture of the regions"):
        segments_of(3)
    with pytest.raises(UsageError, match=r"segments: an array of shape \(28,\)"):
        segments_of(np.zeros(28))
    monkeypatch.setitem(__import__("sys").modules, "skimage", None)
    with pytest.raises(UsageError, match=r"needs scikit-image; pip install 'cfx-toolkit\[segments\]'"):
        segments_of("slic")


@pytest.mark.parametrize("regions", ["slic", bands(28, 28)], ids=["slic", "drawn"])
def test_only_the_segments_that_suffice_change(bundle: Bundle, regions: str | Image.Image):
    options = {"target": "9", "engine": "projection", "bundle": bundle, "metrics": ["l1"]}
    (answer,) = cfx.explain(EXAMPLES / "four.png", **options, regions=regions)
    which = answer.which_regions
    assert which is not None and which.enough
    allowed = torch.stack([which.cells[number].segment.mask for number in which.enough]).any(dim=0)
    assert torch.equal(which.image[0][~allowed], answer.pictures.factual[0][~allowed])
    (again,) = cfx.explain(
        EXAMPLES / "four.png", **options, mask=Image.fromarray(allowed.numpy().astype(np.uint8) * 255)
    )
    assert again.valid and torch.equal(again.pictures.counterfactual, which.image)
    cells = which.as_json(None)["cells"]
    assert isinstance(cells, list) and sum(cell["share"] for cell in cells) == pytest.approx(1, abs=0.01)
    assert all(("colour" in cell) == (regions != "slic") for cell in cells)
    assert draw_regions(answer, which).width > 3 * 224
    assert len(which.cells) == 3 or regions == "slic"
