"""Masks and maps of regions are read as tools write them: of 0 and 1, of 1 to 32 bits, with palettes, alpha, floats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cfx.answers.given import as_picture
from cfx.answers.segments import Drawn, segments_of
from cfx.errors import ImageError, UsageError
from cfx.images.marks import light_pixels, light_values, regions_of

HALF = np.zeros((6, 8), dtype=np.uint8)
HALF[:, 4:] = 1
REGIONS = np.zeros((6, 8), dtype=np.uint8)
REGIONS[:, 4:] += 1
REGIONS[3:] += 2


def with_palette(indices: np.ndarray, colours: list[int]) -> Image.Image:
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette(colours)
    return picture


def with_alpha(grey: int, alpha: np.ndarray) -> Image.Image:
    return Image.merge("LA", [Image.new("L", (8, 6), grey), Image.fromarray(alpha)])


def of_floats(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.float32))


SOFT = np.where(HALF, 0.75, 0.25)
MASKS = {
    "ones.png": Image.fromarray(HALF),
    "white.png": Image.fromarray(HALF * 255),
    "bit.png": Image.fromarray(HALF.astype(bool)),
    "bit.tif": Image.fromarray(HALF.astype(bool)),
    "colour of 1.png": Image.fromarray(np.stack([HALF] * 3, axis=2)),
    "red.png": Image.fromarray(np.stack([HALF * 90, HALF * 0, HALF * 0], axis=2)),
    "of 16 bits.png": Image.fromarray(HALF.astype(np.uint16)),
    "white of 16 bits.png": Image.fromarray(HALF.astype(np.uint16) * 65535),
    "soft of 16 bits.tif": Image.fromarray((SOFT * 65535).astype(np.uint16)),
    "of 32 bits.tif": Image.fromarray(HALF.astype(np.int32)),
    "white of 32 bits.tif": Image.fromarray(HALF.astype(np.int32) * 255),
    "floats.tif": of_floats(HALF),
    "soft floats.tif": of_floats(SOFT),
    "floats to 255.tif": of_floats(SOFT * 255),
    "voc.png": with_palette(HALF, [0, 0, 0, 128, 0, 0]),
    "grey palette.png": with_palette(HALF, [0, 0, 0, 1, 1, 1]),
    "cut out.png": with_alpha(0, HALF * 255),
    "white cut out.png": with_alpha(255, HALF * 255),
    "soft.jpg": Image.fromarray((SOFT * 255).astype(np.uint8)),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_as_tools_write_them(name: str, tmp_path: Path) -> None:
    MASKS[name].save(tmp_path / name)
    assert np.array_equal(light_pixels(tmp_path / name, name), HALF == 1)
    assert np.array_equal(light_pixels(MASKS[name], name), HALF == 1)


ARRAYS = [
    *(HALF, HALF.astype(bool), HALF.astype(np.int64), HALF.astype(np.float64), HALF * 255, SOFT, HALF[None]),
    *(HALF[:, :, None], HALF.astype(np.uint16) * 900, torch.from_numpy(HALF), torch.from_numpy(HALF).bool()),
]


@pytest.mark.parametrize("array", ARRAYS)
def test_masks_as_arrays(array: np.ndarray | torch.Tensor) -> None:
    assert np.array_equal(np.asarray(as_picture(array)) == 255, HALF == 1)


def test_all_of_a_mask_may_be_light() -> None:
    assert light_values(np.ones((2, 2), dtype=np.uint8), "mask").all()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (REGIONS, "mask: has no light pixel .its values are 0 to 3, and white is 255., so that nothing may change"),
        (HALF * 0, "its values are 0 to 0"),
        (SOFT * np.nan, "some of its values are NaN"),
    ],
)
def test_what_is_no_mask(values: np.ndarray, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        light_values(values, "mask")


MAPS = {
    "numbers.png": Image.fromarray(REGIONS),
    "of 16 bits.png": Image.fromarray(REGIONS.astype(np.uint16) * 300),
    "of 16 bits.tif": Image.fromarray(REGIONS.astype(np.uint16)),
    "of 32 bits.tif": Image.fromarray(REGIONS.astype(np.int32) - 1),
    "floats.tif": of_floats(REGIONS),
    "palette.png": with_palette(REGIONS, [0, 0, 0, 9, 9, 9, 0, 90, 0, 200, 0, 0]),
    "palette of one colour.png": with_palette(REGIONS, [7, 7, 7] * 256),
    "colours.png": Image.fromarray(np.stack([REGIONS * 60, REGIONS, 255 - REGIONS], axis=2)),
}


@pytest.mark.parametrize("name", MAPS)
def test_maps_of_regions_as_tools_write_them(name: str, tmp_path: Path) -> None:
    MAPS[name].save(tmp_path / name)
    for given in (tmp_path / name, MAPS[name]):
        found, _ = regions_of(given, name)
        _, same = np.unique(found, return_inverse=True)
        _, wanted = np.unique(REGIONS, return_inverse=True)
        assert len(np.unique(found)) == 4
        assert len({*zip(same.flat, wanted.flat, strict=True)}) == 4


def test_a_region_is_named_by_its_colour_or_value() -> None:
    image = torch.zeros(1, 6, 8)
    of_values = Drawn.read(MAPS["of 16 bits.png"]).of(image, None)
    assert [segment.colour for segment in of_values] == ["0", "300", "600", "900"]
    assert Drawn.read(MAPS["numbers.png"]).of(image, None)[3].colour == "#030303"
    of_array = segments_of(REGIONS.astype(np.int64) - 1).of(image, None)
    assert [segment.colour for segment in of_array] == ["-1", "0", "1", "2"]


def test_what_is_no_map_of_regions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="map: its values are no whole numbers"):
        regions_of(of_floats(SOFT), "map")
    with pytest.raises(UsageError, match="segments: 1200 different values; give each of 2 to 100 regions"):
        Drawn.read(Image.fromarray(np.arange(1200, dtype=np.int32).reshape(30, 40)))
    (tmp_path / "map.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"map\.png: "):
        Drawn.read(tmp_path / "map.png")
