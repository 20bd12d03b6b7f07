"""Whatever image file a user has is read as it looks, or refused in one line."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from cfx.errors import ImageError, OutputError, UsageError
from cfx.images.decoding import decode
from cfx.images.finding import find_images
from cfx.images.reading import Ground, carry_back, read_image
from cfx.images.scale import Scale
from cfx.images.writing import to_picture, write_gif, write_picture, write_png

EXAMPLES = Path(__file__).parents[2] / "examples"
GREY = (1, 28, 28)
COLOUR = (3, 28, 28)


@pytest.fixture(scope="module")
def four() -> np.ndarray:
    """The example's bytes, (28, 28) uint8."""
    return np.asarray(Image.open(EXAMPLES / "four.png"))


def as_bytes(pixels: Tensor) -> np.ndarray:
    """(1, H, W) in [0, 1] as (H, W) of 0 to 255, or (3, H, W) as (H, W, 3); must hold whole numbers."""
    values = pixels * 255
    assert torch.equal(values.round() / 255, pixels), "not multiples of 1/255"
    array = values.round().to(torch.uint8).permute(1, 2, 0).numpy()
    return array[:, :, 0] if array.shape[2] == 1 else array


def save(picture: Image.Image, path: Path, **options: Any) -> Path:
    picture.save(path, **options)
    return path


def colours(size: tuple[int, int]) -> np.ndarray:
    """A smooth colour picture, (height, width, 3) uint8, whose every corner differs."""
    width, height = size
    x, y = np.linspace(0, 255, width)[None, :], np.linspace(0, 255, height)[:, None]
    return np.stack(np.broadcast_arrays(x, y, 255 - (x + y) / 2), axis=2).round().astype(np.uint8)


# --- bit-exactness ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.png")))
def test_examples_come_through_bit_for_bit(name: str) -> None:
    read = read_image(EXAMPLES / name, GREY, light_on_dark=True)
    picture = Image.open(EXAMPLES / name)
    assert picture.mode == "L"
    assert read.pixels.dtype == torch.float32
    assert read.pixels.shape == GREY
    assert read.pixels.is_contiguous()
    assert np.array_equal(as_bytes(read.pixels), np.asarray(picture))
    assert read.notes == ()


def test_examples_are_all_ten_digits() -> None:
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert {path.stem for path in EXAMPLES.glob("*.png")} == set(names)


def test_a_digit_written_and_read_is_the_same(tmp_path: Path, digits: tuple[Tensor, Tensor]) -> None:
    for row in range(0, 400, 20):
        write_png(tmp_path / "digit.png", digits[0][row])
        assert torch.equal(read_image(tmp_path / "digit.png", GREY).pixels, digits[0][row])


def test_every_eight_bit_value_survives(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = save(Image.fromarray(ramp), tmp_path / "ramp.png")
    read = read_image(path, (1, 16, 16))
    assert torch.equal(read.pixels, torch.arange(256).view(1, 16, 16).float() / 255)


@pytest.mark.parametrize(
    "suffix", [".png", ".bmp", ".tif", ".gif", ".pgm", ".jp2", ".webp"], ids=lambda suffix: suffix[1:]
)
def test_lossless_formats(tmp_path: Path, four: np.ndarray, suffix: str) -> None:
    options = {"lossless": True} if suffix == ".webp" else {}
    path = save(Image.fromarray(four), tmp_path / f"four{suffix}", **options)
    read = read_image(path, GREY, light_on_dark=True)
    assert np.array_equal(as_bytes(read.pixels), four)
    assert read.notes == ()


def test_the_name_does_not_matter(tmp_path: Path, four: np.ndarray) -> None:
    path = save(Image.fromarray(four), tmp_path / "four.jpg", format="PNG")
    assert np.array_equal(as_bytes(read_image(path, GREY).pixels), four)


# --- depth ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"], ids=lambda suffix: suffix[1:])
def test_sixteen_bits(tmp_path: Path, four: np.ndarray, suffix: str) -> None:
    path = save(Image.fromarray(four.astype(np.uint16) * 257), tmp_path / f"four{suffix}")
    read = read_image(path, GREY, light_on_dark=True)
    assert np.array_equal(as_bytes(read.pixels), four)
    assert read.notes == ()


def test_sixteen_bits_big_endian(tmp_path: Path, four: np.ndarray) -> None:
    big = Image.frombytes("I;16B", (28, 28), (four.astype(">u2") * 257).astype(">u2").tobytes())
    path = save(big, tmp_path / "four.tif")
    assert Image.open(path).mode == "I;16B"
    assert np.array_equal(as_bytes(read_image(path, GREY).pixels), four)


def test_sixteen_bits_in_colour(tmp_path: Path, four: np.ndarray) -> None:
    path = save(Image.fromarray(four.astype(np.uint16) * 257), tmp_path / "four.png")
    assert np.array_equal(as_bytes(read_image(path, COLOUR).pixels), np.stack([four] * 3, axis=2))


def test_sixteen_bits_where_zero_is_white(tmp_path: Path, four: np.ndarray) -> None:
    turned = Image.fromarray((255 - four).astype(np.uint16) * 257)
    path = save(turned, tmp_path / "four.tif", tiffinfo={262: 0})
    assert np.array_equal(as_bytes(read_image(path, GREY).pixels), four)


def test_twelve_bits(tmp_path: Path) -> None:
    # Pillow cannot write these: two values in three bytes, all of them 0xFFF or all 0x800
    for value, expected in ((0xFFF, 255), (0x800, 128)):
        packed = (value << 12 | value).to_bytes(3, "big") * (28 * 14)
        entries = [(256, 28), (257, 28), (258, 12), (259, 1), (262, 1), (273, 122), (277, 1), (278, 28), (279, 1176)]
        head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
        for tag, number in entries:
            head += struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, number)
        path = tmp_path / "twelve.tif"
        path.write_bytes((head + bytes(4)).ljust(122, b"\0") + packed)
        assert (as_bytes(read_image(path, GREY).pixels) == expected).all()


def test_eight_bits_in_a_sixteen_bit_file(tmp_path: Path, four: np.ndarray) -> None:
    path = save(Image.fromarray(four.astype(np.uint16)), tmp_path / "four.png")
    read = read_image(path, GREY)
    assert np.array_equal(as_bytes(read.pixels), four)
    assert read.notes == ("16-bit values from 0 to 255: taken as shares of 255 (--white says otherwise)",)


def test_sixteen_bits_with_a_transparent_value(tmp_path: Path) -> None:
    values = np.full((28, 28), 40000, dtype=np.uint16)
    values[:, :14] = 65535
    path = save(Image.fromarray(values), tmp_path / "key.png", transparency=40000)
    read = read_image(path, GREY, light_on_dark=True)
    assert (as_bytes(read.pixels)[:, :14] == 255).all()
    assert (as_bytes(read.pixels)[:, 14:] == 0).all()


@pytest.mark.parametrize(("factor", "white"), [(1, 255), (257, 65535)])
def test_thirty_two_bit_integers(tmp_path: Path, four: np.ndarray, factor: int, white: int) -> None:
    path = save(Image.fromarray(four.astype(np.int32) * factor), tmp_path / "four.tif")
    read = read_image(path, GREY)
    assert np.array_equal(as_bytes(read.pixels), four)
    assert read.notes == (f"32-bit values from 0 to {white}: taken as shares of {white} (--white says otherwise)",)


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_floats(tmp_path: Path, four: np.ndarray, white: int) -> None:
    path = save(Image.fromarray(four.astype(np.float32) / 255 * white), tmp_path / "four.tif")
    read = read_image(path, GREY)
    assert np.array_equal(as_bytes(read.pixels), four)
    assert read.notes == (f"float values from 0 to {white}: taken as shares of {white} (--white says otherwise)",)


def test_floats_outside_every_convention_ask_for_a_window(tmp_path: Path, four: np.ndarray) -> None:
    path = save(Image.fromarray(four.astype(np.float32) / 255 * 4 - 2), tmp_path / "four.tif")
    refused(path, "float values from -2 to 2: which value is black cannot be told", "--black and --white")
    read = read_image(path, GREY, scale=Scale(-2, 2))
    assert np.array_equal(as_bytes(read.pixels), four) and read.notes == ()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_floats_that_are_no_numbers(tmp_path: Path, four: np.ndarray, bad: float) -> None:
    values = four.astype(np.float32)
    values[3, 4] = bad
    refused(save(Image.fromarray(values), tmp_path / "four.tif"), "some of its values are NaN or infinite")


def test_one_bit(tmp_path: Path, four: np.ndarray) -> None:
    path = save(Image.fromarray(four > 127), tmp_path / "four.png")
    assert Image.open(path).mode == "1"
    assert np.array_equal(as_bytes(read_image(path, GREY).pixels), np.where(four > 127, 255, 0))


# --- palette, colour, transparency ------------------------------------------------------------------------


def test_palette(tmp_path: Path, four: np.ndarray) -> None:
    indexed = Image.fromarray(255 - four)
    indexed = indexed.convert("P")
    indexed.putpalette([255 - shade for shade in range(256) for _ in range(3)])  # index 0 is white
    path = save(indexed, tmp_path / "four.png")
    assert Image.open(path).mode == "P"
    read = read_image(path, GREY, light_on_dark=True)
    assert np.array_equal(as_bytes(read.pixels), four)
    assert read.notes == ()


@pytest.mark.parametrize("transparency", [0, bytes(range(256))], ids=["one index", "an alpha per index"])
def test_palette_with_transparency(tmp_path: Path, four: np.ndarray, transparency: int | bytes) -> None:
    indexed = Image.fromarray(four).convert("P")
    indexed.putpalette([255] * 768 if isinstance(transparency, bytes) else [s for s in range(256) for _ in range(3)])
    path = save(indexed, tmp_path / "four.png", transparency=transparency)
    read = read_image(path, GREY, light_on_dark=True)
    assert np.array_equal(as_bytes(read.pixels), four)
    assert read.notes == ("transparent: laid on black (what is visible is light)",)


def test_colour_to_grey_is_luminance(tmp_path: Path) -> None:
    picture = Image.new("RGB", (28, 28))
    for row, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]):
        picture.paste(colour, (0, 7 * row, 28, 7 * row + 7))
    grey = as_bytes(read_image(save(picture, tmp_path / "bands.png"), GREY).pixels)
    # ITU-R 601: 0.299 R + 0.587 G + 0.114 B
    assert [int(grey[7 * row, 0]) for row in range(4)] == [76, 150, 29, 255]


def test_grey_to_colour_repeats_it(tmp_path: Path, four: np.ndarray) -> None:
    read = read_image(EXAMPLES / "four.png", COLOUR)
    assert read.pixels.shape == COLOUR
    assert np.array_equal(as_bytes(read.pixels), np.stack([four] * 3, axis=2))


def test_colour_stays_bit_for_bit(tmp_path: Path) -> None:
    path = save(Image.fromarray(colours((28, 28))), tmp_path / "colours.png")
    assert np.array_equal(as_bytes(read_image(path, COLOUR).pixels), colours((28, 28)))


def test_grey_digit_stored_as_colour(tmp_path: Path, four: np.ndarray) -> None:
    path = save(Image.fromarray(four).convert("RGB"), tmp_path / "four.png")
    assert np.array_equal(as_bytes(read_image(path, GREY).pixels), four)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk(tmp_path: Path, suffix: str) -> None:
    """Pillow writes CMYK JPEGs as Adobe does: inverted, with Adobe's marker."""
    upright = Image.fromarray(colours((28, 28)))
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    path = save(upright.convert("CMYK"), tmp_path / f"cmyk.{suffix}", **options)
    opened = Image.open(path)
    assert opened.mode == "CMYK"
    assert suffix == "tif" or "adobe" in opened.info
    read = as_bytes(read_image(path, COLOUR).pixels)
    assert np.abs(read.astype(int) - colours((28, 28)).astype(int)).max() <= (6 if suffix == "jpg" else 1)


def test_lab_and_ycbcr(tmp_path: Path) -> None:
    path = save(Image.fromarray(colours((28, 28))).convert("YCbCr"), tmp_path / "ycbcr.tif")
    assert Image.open(path).mode == "YCbCr"
    read = as_bytes(read_image(path, COLOUR).pixels)
    assert np.abs(read.astype(int) - colours((28, 28)).astype(int)).max() <= 3
    path = save(Image.new("LAB", (28, 28), (255, 128, 128)), tmp_path / "lab.tif")
    assert (as_bytes(read_image(path, GREY).pixels) >= 250).all()


def ink(four: np.ndarray, shade: int, mode: str) -> Image.Image:
    """The digit as ink of one shade, its strokes in the alpha channel alone."""
    picture = Image.new(mode[:-1], (28, 28), (shade,) * 3 if mode == "RGBA" else shade)
    picture.putalpha(Image.fromarray(four))
    return picture


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_white_ink_is_laid_on_black(tmp_path: Path, four: np.ndarray, mode: str, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(ink(four, 255, mode), tmp_path / f"four.{suffix}", **options)
    for light_on_dark in (True, False):
        read = read_image(path, GREY, light_on_dark=light_on_dark)
        assert np.array_equal(as_bytes(read.pixels), four)
        assert read.notes == ("transparent: laid on black (what is visible is light)",)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_black_ink_is_laid_on_white(tmp_path: Path, four: np.ndarray, mode: str) -> None:
    path = save(ink(four, 0, mode), tmp_path / "four.png")
    laid = "transparent: laid on white (what is visible is dark)"
    read = read_image(path, GREY, light_on_dark=True)
    assert np.array_equal(as_bytes(read.pixels), 255 - four)
    assert read.notes == (laid, "looks like dark on light, but the model was trained on light on dark: try --invert")
    assert read_image(path, GREY).notes == (laid,)
    inverted = read_image(path, GREY, invert=True, light_on_dark=True)
    assert np.array_equal(as_bytes(inverted.pixels), four)
    assert inverted.notes == (laid,)


def test_opaque_alpha_is_no_news(tmp_path: Path, four: np.ndarray) -> None:
    picture = Image.fromarray(four)
    picture.putalpha(255)
    read = read_image(save(picture, tmp_path / "four.png"), GREY, light_on_dark=True)
    assert np.array_equal(as_bytes(read.pixels), four)
    assert read.notes == ()


@pytest.mark.parametrize(("light_on_dark", "ground"), [(True, 0), (False, 255)])
def test_wholly_transparent(tmp_path: Path, light_on_dark: bool, ground: int) -> None:
    path = save(Image.new("RGBA", (28, 28), (90, 120, 30, 0)), tmp_path / "nothing.png")
    read = read_image(path, GREY, light_on_dark=light_on_dark)
    assert (as_bytes(read.pixels) == ground).all()
    assert read.notes == (f"transparent: laid on {'black' if ground == 0 else 'white'} (nothing in it is visible)",)


@pytest.mark.parametrize("shade", [0, 160, 255])
@pytest.mark.parametrize("ground", ["black", "white"])
@pytest.mark.parametrize("light_on_dark", [True, False])
def test_a_given_ground_is_the_ground(
    tmp_path: Path, four: np.ndarray, shade: int, ground: Ground, light_on_dark: bool
) -> None:
    path = save(ink(four, shade, "RGBA"), tmp_path / "four.png")
    read = read_image(path, GREY, light_on_dark=light_on_dark, ground=ground)
    level = 0 if ground == "black" else 255
    paper, strokes = (Image.new("L", (28, 28), value) for value in (level, shade))
    expected = np.asarray(Image.composite(strokes, paper, Image.fromarray(four)))
    assert np.array_equal(as_bytes(read.pixels), expected)
    assert read.notes[0] == f"transparent: laid on {ground}, as the images that the bundle was made from"
    unchanged = carry_back(path, torch.zeros(GREY), read.placement, light_on_dark=light_on_dark, ground=ground)
    assert np.array_equal(np.asarray(unchanged.convert("L")), expected)


def test_a_given_ground_changes_no_opaque_picture(tmp_path: Path, four: np.ndarray) -> None:
    picture = Image.fromarray(four)
    picture.putalpha(255)
    for path in (save(picture, tmp_path / "alpha.png"), save(Image.fromarray(four), tmp_path / "four.png")):
        read = read_image(path, GREY, ground="white")
        assert np.array_equal(as_bytes(read.pixels), four) and read.notes == ()


def test_colour_hidden_under_transparency_does_not_bleed(tmp_path: Path) -> None:
    values = np.zeros((280, 280, 4), dtype=np.uint8)
    values[:, :, 0] = 255  # a red that no viewer shows
    values[100:180, 100:180] = 255
    read = read_image(save(Image.fromarray(values), tmp_path / "hidden.png"), COLOUR, light_on_dark=True)
    assert torch.equal(read.pixels[0], read.pixels[2])


# --- rotation, frames -------------------------------------------------------------------------------------


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", sorted(TURNS))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_exif_rotation(tmp_path: Path, orientation: int, suffix: str) -> None:
    """A file stored turned, with EXIF saying so, reads as the upright one."""
    upright = Image.fromarray(colours((40, 20)))
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = save(upright.transpose(TURNS[orientation]), tmp_path / f"turned.{suffix}", exif=exif, **options)
    expected = read_image(save(upright, tmp_path / "upright.png"), (3, 20, 40))
    read = read_image(turned, (3, 20, 40))
    assert read.notes == ()
    assert (read.pixels - expected.pixels).abs().max() <= (6 / 255 if suffix == "jpg" else 0)


def test_damaged_exif_does_not_cost_the_image(tmp_path: Path, four: np.ndarray) -> None:
    path = save(Image.fromarray(four), tmp_path / "four.png", exif=b"Exif\0\0MM\0*\0\0")
    read = read_image(path, GREY)
    assert np.array_equal(as_bytes(read.pixels), four)
    assert all("EXIF" in note for note in read.notes)


@pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp"])
def test_first_of_several_frames(tmp_path: Path, four: np.ndarray, suffix: str) -> None:
    frames = [Image.fromarray(turned) for turned in (four, 255 - four, four.T.copy())]
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(frames[0], tmp_path / f"moving.{suffix}", save_all=True, append_images=frames[1:], **options)
    read = read_image(path, GREY, light_on_dark=True)
    assert np.array_equal(as_bytes(read.pixels), four)
    assert read.notes == ("holds 3 frames: only the first is read",)


# --- size -------------------------------------------------------------------------------------------------


def test_enlarged_digit_comes_back(tmp_path: Path, digits: tuple[Tensor, Tensor]) -> None:
    for row in range(0, 400, 40):
        large = to_picture(digits[0][row]).resize((280, 280), Image.Resampling.BICUBIC)
        read = read_image(save(large, tmp_path / "large.png"), GREY, light_on_dark=True)
        assert read.notes == ("resized from 280x280 to 28x28",)
        assert (read.pixels - digits[0][row]).abs().mean() < 0.025


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((280, 280), dtype=np.uint8)
    stripes[::2] = 255
    grey = as_bytes(read_image(save(Image.fromarray(stripes), tmp_path / "stripes.png"), GREY).pixels)
    assert (np.abs(grey.astype(int) - 127) <= 12).all()


def test_no_halo_on_a_flat_ground(tmp_path: Path) -> None:
    square = np.full((280, 280), 100, dtype=np.uint8)
    square[100:180, 100:180] = 220
    grey = as_bytes(read_image(save(Image.fromarray(square), tmp_path / "square.png"), GREY).pixels)
    assert grey.min() == 100
    assert grey.max() == 220


@pytest.mark.parametrize(("size", "inner"), [((56, 28), (28, 14)), ((28, 56), (14, 28)), ((14, 7), (28, 14))])
def test_letterbox(tmp_path: Path, size: tuple[int, int], inner: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, (10, 200, 30))
    picture.paste((250, 0, 0), (size[0] // 2 - 1, size[1] // 2 - 1, size[0] // 2 + 1, size[1] // 2 + 1))
    read = read_image(save(picture, tmp_path / "wide.png"), COLOUR)
    (note,) = read.notes
    assert note == f"resized from {size[0]}x{size[1]} to {inner[0]}x{inner[1]} and padded to 28x28"
    values = as_bytes(read.pixels)
    top, left = (28 - inner[1]) // 2, (28 - inner[0]) // 2
    outside = np.ones((28, 28), dtype=bool)
    outside[top : top + inner[1], left : left + inner[0]] = False
    assert (values[outside] == (10, 200, 30)).all(), "padded with the border's colour"
    red = np.argwhere(values[:, :, 0].astype(int) > 60)
    assert (np.abs(red.mean(axis=0) - 13.5) <= 1).all(), "the middle stays in the middle"


def test_letterbox_keeps_a_digit_in_proportion(tmp_path: Path, four: np.ndarray) -> None:
    wide = Image.new("L", (84, 28), 0)
    wide.paste(Image.fromarray(four), (28, 0))
    read = read_image(save(wide, tmp_path / "wide.png"), (1, 28, 84))
    assert read.notes == (), "the right size, though not square"
    padded = read_image(save(Image.fromarray(four), tmp_path / "four.png"), (1, 28, 84))
    assert padded.notes == ("resized from 28x28 to 28x28 and padded to 84x28",)
    assert torch.equal(padded.pixels, read.pixels)


def test_a_line_one_pixel_high(tmp_path: Path) -> None:
    path = save(Image.new("L", (3000, 1), 255), tmp_path / "line.png")
    read = read_image(path, GREY)
    assert read.pixels.shape == GREY
    assert read.notes == ("resized from 3000x1 to 28x1 and padded to 28x28",)


def test_photo_of_twelve_megapixels(tmp_path: Path, four: np.ndarray) -> None:
    paper = Image.new("RGB", (4000, 3000), (225, 220, 210))
    paper.paste((20, 30, 90), (500, 0), Image.fromarray(four).resize((3000, 3000)))
    path = save(paper, tmp_path / "photo.jpg", quality=90)
    read = read_image(path, GREY, light_on_dark=True)
    assert read.notes == (
        "resized from 4000x3000 to 28x21 and padded to 28x28",
        "looks like dark on light, but the model was trained on light on dark: try --invert",
    )
    assert read.pixels[0, 0, 0] == pytest.approx(220 / 255, abs=0.02)


# --- dark on light ----------------------------------------------------------------------------------------


def test_dark_digits_are_noticed_and_light_ones_are_not(tmp_path: Path, digits: tuple[Tensor, Tensor]) -> None:
    hint = "looks like dark on light, but the model was trained on light on dark: try --invert"
    for row in range(0, 400, 10):
        light, dark = tmp_path / "light.png", tmp_path / "dark.png"
        write_png(light, digits[0][row])
        write_png(dark, 1 - digits[0][row])
        assert read_image(light, GREY, light_on_dark=True).notes == ()
        assert read_image(dark, GREY, light_on_dark=True).notes == (hint,)
        assert read_image(dark, GREY).notes == (), "a model that does not mind is not told"
        inverted = read_image(dark, GREY, invert=True, light_on_dark=True)
        assert inverted.notes == ()
        assert torch.equal(inverted.pixels, digits[0][row])


def test_shadowed_paper_is_noticed(tmp_path: Path, four: np.ndarray) -> None:
    """A photo that falls off to its corners, thin ink, mid-grey paper."""
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    paper = 190 - 40 * (x**2 + y**2) / 2
    path = save(Image.fromarray((paper * (1 - 0.6 * four / 255)).astype(np.uint8)), tmp_path / "paper.png")
    assert any("--invert" in note for note in read_image(path, GREY, light_on_dark=True).notes)


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_blank_pages_are_neither(tmp_path: Path, shade: int) -> None:
    path = save(Image.new("L", (28, 28), shade), tmp_path / "blank.png")
    assert read_image(path, GREY, light_on_dark=True).notes == ()


def test_invert_is_exact_and_does_what_it_is_told(four: np.ndarray) -> None:
    read = read_image(EXAMPLES / "four.png", GREY, invert=True, light_on_dark=True)
    assert np.array_equal(as_bytes(read.pixels), 255 - four)


# --- refused ----------------------------------------------------------------------------------------------


def refused(path: Path, *says: str) -> ImageError:
    """Reading is refused, in one line that names the file and says each of `says`; nothing else is said."""
    with warnings.catch_warnings(), pytest.raises(ImageError) as caught:
        warnings.simplefilter("error")
        read_image(path, GREY)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert "; " in message, "says what to do"
    for words in says:
        assert words in message
    return caught.value


def test_missing(tmp_path: Path) -> None:
    error = refused(tmp_path / "missing.png", "no such file", "check the name")
    assert isinstance(error.__cause__, FileNotFoundError)


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "empty (0 bytes)")


def test_directory(tmp_path: Path) -> None:
    refused(tmp_path, "is a directory, not an image", "give a file in it")


def test_pipe_does_not_keep_us_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "not a regular file")


def test_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "four.png", "could not be opened (not a directory)")


def test_name_too_long(tmp_path: Path) -> None:
    refused(tmp_path / ("x" * 300 + ".png"), "could not be opened (file name too long)")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission bits do not stop a superuser, so the refusal is played."""
    path = tmp_path / "four.png"
    path.write_bytes((EXAMPLES / "four.png").read_bytes())

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", denied)
    error = refused(path, "could not be opened (permission denied)", "check its permissions")
    assert isinstance(error.__cause__, PermissionError)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a letter, not a picture\n" * 20, "a text file ('a letter, not a picture a letter, not a '), not an image"),
        ("Größe: 3 µm, ".encode() * 60, "a text file ('Größe: 3 µm, Größe"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n", "run `git lfs pull`"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing; export it as PNG"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "an HTML page, not an image: the download has failed"),
        (b"\xef\xbb\xbf<!-- saved --><HTML lang='en'><head>", "an HTML page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript drawing; export it as PNG"),
        (b"%PDF-1.7\n", "a PDF document; export the page as PNG"),
        (bytes(1000), "nothing but zeros"),
        (b"8BPS\x00\x01" + bytes(30), "a Photoshop document; export it as PNG"),
        (b"\x80\x04\x95", "a pickle, not an image"),
        (b"PK\x03\x04" + bytes(30), "a ZIP archive; unpack it first"),
        (bytes(128) + b"DICM" + bytes(30), "a DICOM image, which cfx does not read; export it as 16-bit PNG"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(30), "a video, not an image"),
        (b"\x89PNG\r\n\x1a\n", "a PNG file whose beginning is damaged; export or copy it again"),
        (b"II*\x00" + bytes(40), "a TIFF file of a kind that cfx cannot read, or a damaged one; export it as PNG"),
        (b"\x13\x37" * 20, "not an image that cfx can read, or a badly damaged one; convert it to PNG or JPEG"),
        (b"x", "not an image that cfx can read, or a badly damaged one; convert it to PNG or JPEG"),
    ],
)
def test_not_an_image(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "note.png"
    path.write_bytes(content)
    refused(path, says)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp", "jp2", "avif"])
def test_cut_off(tmp_path: Path, suffix: str) -> None:
    """Cut anywhere, a file is refused, unless what is lost was not needed for its pixels."""
    noisy = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    content = save(Image.fromarray(noisy).convert("RGB"), tmp_path / f"whole.{suffix}").read_bytes()
    expected = read_image(tmp_path / f"whole.{suffix}", GREY).pixels
    path = tmp_path / f"cut.{suffix}"
    for cut in range(1, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:cut])
        try:
            read = read_image(path, GREY)
        except ImageError as error:
            assert str(error).startswith(f"{path}: ")
            assert "damaged" in str(error)
            assert "\n" not in str(error)
            assert error.__cause__ is not None
        else:
            assert cut > len(content) * 0.97, f"{len(content) - cut} bytes are missing"
            assert torch.equal(read.pixels, expected)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_cut_in_half(tmp_path: Path, suffix: str) -> None:
    photo = save(Image.fromarray(colours((300, 200))), tmp_path / f"photo.{suffix}")
    photo.write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    error = refused(photo, "cut off or damaged", "truncated", "copy it again")
    assert isinstance(error.__cause__, OSError)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp", "ico", "ppm", "jp2", "avif"])
def test_hostile_bytes_never_raise_anything_else(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever bytes are flipped: an image, or an ImageError; and nothing on stderr."""
    picture = Image.fromarray(colours((28, 28)))
    content = save(picture, tmp_path / f"whole.{suffix}").read_bytes()
    generator = np.random.default_rng(1)
    path = tmp_path / f"hostile.{suffix}"
    read = 0
    for _ in range(60):
        hostile = bytearray(content)
        for place in generator.integers(0, min(len(content), 400), 4):
            hostile[place] = generator.integers(256)
        path.write_bytes(hostile)
        try:
            pixels = read_image(path, GREY).pixels
        except ImageError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
        else:
            read += 1
            assert pixels.shape == GREY
            assert 0 <= pixels.min() <= pixels.max() <= 1
    assert read < 60
    assert capfd.readouterr().err == ""


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [10_000, 60_000], ids=["of which Pillow warns", "which Pillow refuses"])
def test_decompression_bomb(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side))
    error = refused(path, f"{side * side:,} pixels", f"more than the {Image.MAX_IMAGE_PIXELS:,}", "shrink it")
    assert isinstance(error.__cause__, Image.DecompressionBombWarning | Image.DecompressionBombError)


def test_decompression_bomb_in_a_text_chunk(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    text = b"zTXt" + b"Comment\0\0" + zlib.compress(bytes(100_000_000))
    whole = png(28, 28)
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    path.write_bytes(whole[:33] + chunk + whole[33:])
    refused(path, "damaged")


@pytest.mark.parametrize("size", [(0, 0), (0, 28), (28, 0)])
def test_zero_sized(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "nothing.png"
    path.write_bytes(png(*size))
    refused(path, "a PNG file whose beginning is damaged")


def test_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageOps, "exif_transpose", exhausted)
    path = save(Image.new("L", (28, 28)), tmp_path / "large.png")
    refused(path, "needs more memory than is available", "shrink it")


def test_pillow_keeps_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A palette with an alpha per index makes Pillow warn, and some TIFFs make it log."""
    indexed = Image.new("P", (28, 28))
    path = save(indexed, tmp_path / "four.png", transparency=bytes([0, 128, 255]))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        read_image(path, GREY)
    assert said == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("channels", [2, 4])
def test_other_numbers_of_channels(channels: int) -> None:
    with pytest.raises(UsageError, match="only images of 1 or 3 channels"):
        read_image(EXAMPLES / "four.png", (channels, 28, 28))


# --- finding ----------------------------------------------------------------------------------------------


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """A directory with images, a note, a hidden file and a directory below."""
    folder = tmp_path / "shots"
    (folder / "more").mkdir(parents=True)
    for name in ("b.png", "a.JPG", "c.tiff", "notes.txt", "._a.jpg", "more/d.png"):
        (folder / name).touch()
    return folder


def test_finds_files_in_the_order_given(shots: Path) -> None:
    asked = [str(shots / "b.png"), str(shots / "a.JPG")]
    assert find_images(asked).paths == [shots / "b.png", shots / "a.JPG"]
    assert find_images([str(shots / "notes.txt")]).paths == [shots / "notes.txt"], "a named file is taken at its word"


def test_finds_the_images_of_a_directory(shots: Path) -> None:
    assert find_images([str(shots)]).paths == [shots / "a.JPG", shots / "b.png", shots / "c.tiff"]


def test_finds_by_glob(shots: Path) -> None:
    assert find_images([f"{shots}/*.[pJ]*"]).paths == [shots / "a.JPG", shots / "b.png"]
    assert find_images([f"{shots}/**/*.png"]).paths == [shots / "b.png", shots / "more" / "d.png"]


def test_a_file_may_be_named_like_a_glob(shots: Path) -> None:
    (shots / "digit[1].png").touch()
    assert find_images([str(shots / "digit[1].png")]).paths == [shots / "digit[1].png"]


def test_drops_repeats(shots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shots)
    asked = ["c.tiff", str(shots), "./b.png", "more/../b.png", "*.png"]
    assert find_images(asked).paths == [Path("c.tiff"), shots / "a.JPG", shots / "b.png"]


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("missing.png", "missing.png: no such file; check the name"),
        ("more/none-*.png", "more/none-*.png: matches no file; check the pattern"),
        ("bare", "bare: a directory without images; give one that holds"),
        ("", "'': an empty file name; give an image"),
    ],
)
def test_nothing_found(shots: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, says: str) -> None:
    monkeypatch.chdir(shots)
    (shots / "bare").mkdir()
    with pytest.raises(ImageError) as caught:
        find_images(["b.png", pattern])
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_nothing_is_skipped_in_silence(shots: Path) -> None:
    (shots / "gone.png").symlink_to("nowhere")
    (shots / "photo.HEIC").touch()
    (shots / "layers.psd").write_bytes(b"8BPS")
    (shots / "scan").write_bytes((EXAMPLES / "four.png").read_bytes())
    found = find_images([str(shots)])
    names = [path.name for path in found.paths]
    assert names == ["a.JPG", "b.png", "c.tiff", "gone.png", "photo.HEIC", "scan"]
    assert found.notes == [
        f"{shots}: 2 files are no images and are left out: layers.psd, notes.txt",
        f"{shots}: 1 images in folders below (more) are left out; see --recursive",
    ]
    with pytest.raises(ImageError, match=r"gone\.png: a link to nowhere, which does not exist; restore that file"):
        read_image(shots / "gone.png", GREY)
    assert find_images([str(shots)], recursive=True).paths == [*found.paths, shots / "more" / "d.png"]


def test_images_that_lie_deeper_are_pointed_at(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for number in range(3):
            (tmp_path / label / f"{number}.png").touch()
    with pytest.raises(ImageError) as caught:
        find_images([str(tmp_path)])
    assert str(caught.value) == f"{tmp_path}: no images in it, but 6 in folders below (cat, dog); use --recursive"
    assert len(find_images([str(tmp_path)], recursive=True).paths) == 6


def test_a_directory_of_links_that_lead_nowhere_is_answered(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("nowhere")
    assert find_images([str(tmp_path)]).paths == [tmp_path / "a.png"]


def test_a_heic_file_is_read_or_says_what_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(100))
    try:
        import pillow_heif
    except ImportError:
        refused(path, "a HEIC image, which needs pillow-heif; install it with: pip install 'cfx-toolkit[heif]'")
        return
    refused(path, "the image is cut off or damaged")
    smooth = Image.fromarray(colours((20, 30))).resize((64, 64), Image.Resampling.BICUBIC)
    pillow_heif.from_pillow(smooth).save(path, quality=95)
    found = np.asarray(decode(path).picture)
    assert np.abs(found.astype(int) - np.asarray(smooth).astype(int)).mean() < 4


def test_the_home_directory_is_expanded(shots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(shots.parent))
    assert find_images(["~/shots/*.png", "~/shots/b.png"]).paths == [shots / "b.png"]


# --- writing ----------------------------------------------------------------------------------------------


def test_to_picture_rounds_and_clamps() -> None:
    image = torch.tensor([[[0.0, 1.0, 0.5, 100.4 / 255, 100.6 / 255, -0.2, 1.3]]])
    picture = to_picture(image)
    assert picture.mode == "L"
    assert np.asarray(picture).tolist() == [[0, 255, 128, 100, 101, 0, 255]]
    assert to_picture(image.expand(3, 1, 7)).mode == "RGB"
    assert to_picture(image.requires_grad_()).size == (7, 1)


@pytest.mark.parametrize("shape", [(28, 28), (2, 28, 28), (1, 1, 28, 28)])
def test_to_picture_wants_one_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"must be \(1, H, W\) or \(3, H, W\), got \("):
        to_picture(torch.zeros(shape))


def test_written_colour_reads_the_same(tmp_path: Path) -> None:
    image = torch.from_numpy(colours((20, 30))).permute(2, 0, 1).float() / 255
    write_png(tmp_path / "new" / "colours.png", image)
    assert torch.equal(read_image(tmp_path / "new" / "colours.png", (3, 30, 20)).pixels, image)


def test_picture_is_png_whatever_its_name(tmp_path: Path) -> None:
    write_picture(tmp_path / "panel.out", Image.fromarray(colours((20, 30))))
    assert Image.open(tmp_path / "panel.out").format == "PNG"


def test_gif_moves(tmp_path: Path, digits: tuple[Tensor, Tensor]) -> None:
    frames = [to_picture(digits[0][row]) for row in (0, 50, 100)]
    write_gif(tmp_path / "path.gif", frames, milliseconds=120)
    with Image.open(tmp_path / "path.gif") as gif:
        assert getattr(gif, "n_frames", 1) == 3
        assert gif.info["loop"] == 0, "endless"
        for place, frame in enumerate(frames):
            gif.seek(place)
            assert gif.info["duration"] == 120
            assert np.array_equal(np.asarray(gif.convert("L")), np.asarray(frame))


def test_gif_of_colour_frames_and_of_one(tmp_path: Path) -> None:
    write_gif(tmp_path / "one.gif", [Image.fromarray(colours((20, 30)))], milliseconds=50)
    with Image.open(tmp_path / "one.gif") as gif:
        shown = np.asarray(gif.convert("RGB")).astype(int)
    assert np.abs(shown - colours((20, 30)).astype(int)).mean() < 12
    with pytest.raises(UsageError, match=r"none\.gif: an animation needs at least one picture"):
        write_gif(tmp_path / "none.gif", [], milliseconds=50)


def test_failed_writing_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for write in (
        lambda path: write_png(path, torch.zeros(1, 4, 4)),
        lambda path: write_picture(path, Image.new("L", (4, 4))),
        lambda path: write_gif(path, [Image.new("L", (4, 4))], 50),
    ):
        with pytest.raises(OutputError, match="could not be written"):
            write(tmp_path / "file" / "out")
    with pytest.raises(UsageError):
        write_png(tmp_path / "out.png", torch.zeros(4, 4))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_picture_that_cannot_be_encoded_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(b"old")
    with pytest.raises(OSError, match="cannot write mode"):
        write_picture(tmp_path / "out.png", Image.new("HSV", (4, 4)))
    assert (tmp_path / "out.png").read_bytes() == b"old"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """200 x 100 pixels, red to the left and green to the right, with a blue stripe in the middle."""
    values = np.zeros((100, 200, 3), dtype=np.uint8)
    values[:, :100, 0], values[:, 100:, 1], values[:, 90:110, 2] = 200, 200, 200
    Image.fromarray(values).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_crop_keeps_the_middle_and_stretch_keeps_everything(photo: Path) -> None:
    cropped = read_image(photo, (3, 50, 50), resize="crop")
    assert cropped.placement.source == (50, 0, 150, 100) and cropped.placement.target == (0, 0, 50, 50)
    assert cropped.notes == ("resized from 200x100, the middle 100x100 of it to 50x50",)
    stretched = read_image(photo, (3, 50, 50), resize="stretch")
    assert stretched.placement.source == (0, 0, 200, 100) and stretched.placement.shrinks
    share = [(read.pixels[2] > 0.4).float().mean() for read in (cropped, stretched)]
    assert share[0] == pytest.approx(0.2, abs=0.03) and share[1] == pytest.approx(0.1, abs=0.03)
    padded = read_image(photo, (3, 50, 50))
    assert padded.placement.target == (0, 12, 50, 37)
    with pytest.raises(UsageError, match="unknown fit 'corp': did you mean 'crop'"):
        read_image(photo, (3, 50, 50), resize="corp")


@pytest.mark.parametrize("resize", ["pad", "crop", "stretch"])
def test_a_change_is_carried_back_to_where_it_belongs(photo: Path, resize: str) -> None:
    read = read_image(photo, (3, 50, 50), resize=resize)
    change = torch.zeros(3, 50, 50)
    assert np.array_equal(np.asarray(carry_back(photo, change, read.placement)), np.asarray(Image.open(photo)))
    change[2] = (read.pixels[2] > 0.4).float() * -0.5  # the stripe, less blue
    carried = carry_back(photo, change, read.placement)
    before, after = np.asarray(Image.open(photo)).astype(int), np.asarray(carried).astype(int)
    assert after.shape == before.shape
    assert np.array_equal(after[..., :2], before[..., :2])
    assert abs(after[20:80, 96:104, 2].mean() - (200 - 127.5)) < 12
    assert np.abs((after - before)[:, :80]).max() <= 12, "bicubic rings a little; elsewhere nothing moves"
    # Read again, it is the image with the change.
    write_picture(photo.with_name("again.png"), carried)
    again = read_image(photo.with_name("again.png"), (3, 50, 50), resize=resize).pixels
    assert (again - (read.pixels + change).clamp(0, 1)).abs().mean() < 0.01


def test_a_grey_change_reaches_every_colour_and_a_coloured_one_a_grey_photo(photo: Path, tmp_path: Path) -> None:
    read = read_image(photo, (1, 50, 100))
    lighter = np.asarray(carry_back(photo, torch.full((1, 50, 100), 0.1), read.placement)).astype(int)
    assert abs((lighter - np.asarray(Image.open(photo)).astype(int)).mean() - 25.5) < 1
    Image.open(photo).convert("L").save(tmp_path / "grey.png")
    change = torch.zeros(3, 50, 100)
    change[0] = 0.2
    coloured = carry_back(tmp_path / "grey.png", change, read_image(tmp_path / "grey.png", (3, 50, 100)).placement)
    assert coloured.mode == "RGB"
    values = np.asarray(coloured).astype(int)
    assert abs((values[..., 0] - values[..., 1]).mean() - 51) < 1
