"""One scale for one set: what white is, is decided for all images of a source together, or asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cfx.errors import ImageError
from cfx.images.decoding import decode, deep_range
from cfx.images.reading import read_image, scale_of
from cfx.images.scale import ENOUGH, DeepRange, Scale

FOUR = np.asarray(Image.open(Path(__file__).parents[2] / "examples" / "four.png").convert("L"))


def write(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def many(directory: Path, values: np.ndarray, count: int = ENOUGH) -> list[Path]:
    return [write(directory / f"{number}.{'tif' if values.dtype == np.float32 else 'png'}", values)
            for number in range(count)]  # fmt: skip


def levels(path: Path, scale: Scale | None) -> np.ndarray:
    return np.asarray(decode(path, scale).picture)


def test_the_darker_image_of_a_set_stays_darker(tmp_path: Path):
    """Floats on one scale of 0 to 255; those of the dark image are at most 1."""
    bright = write(tmp_path / "bright.tif", FOUR.astype(np.float32))
    dark = write(tmp_path / "dark.tif", FOUR.astype(np.float32) / 255)
    scale, says = scale_of([dark, bright])
    assert scale == Scale(0, 255) and says.startswith(
        "2 images together, float values from 0 to 255: taken as shares of"
    )
    assert np.array_equal(levels(bright, scale), FOUR)
    assert levels(dark, scale).max() == 1
    assert np.array_equal(levels(dark, None), FOUR), "alone, it would be taken for an image on a scale of 1"


def test_twelve_bits_in_sixteen_are_told_from_many_and_asked_for_of_one(tmp_path: Path):
    values = FOUR.astype(np.uint16) * 16
    one = write(tmp_path / "one.png", values)
    with pytest.raises(ImageError) as error:
        read_image(one, (1, 28, 28))
    assert str(error.value) == (
        f"{one}: 16-bit values from 0 to {values.max()}: white may be 4095 or 16383 or 65535; "
        "say which values are black and white with --black and --white (in Python: black=, white=)"
    )
    scale, says = scale_of(many(tmp_path / "many", values))
    assert scale == Scale(0, 4095) and f"{ENOUGH} images together" in says
    assert np.abs(levels(one, scale).astype(int) - FOUR).max() <= 1


@pytest.mark.parametrize(
    ("kind", "low", "high", "count", "white"),
    [
        ("16-bit", 0, 65535, 1, 65535), ("16-bit", 0, 40000, 1, 65535), ("16-bit", 0, 9000, 1, 65535),
        ("16-bit", 0, 16000, ENOUGH, 16383), ("16-bit", 0, 4095, 1, 4095), ("16-bit", 0, 255, 1, 255),
        ("16-bit", 0, 3000, 1, None), ("16-bit", 0, 100, 1, None), ("16-bit", 0, 1000, ENOUGH, 1023),
        ("float", 0, 1, 1, 1), ("float", 0, 0.02, 1, 1), ("float", 0, 200, 1, 255), ("float", 0, 10, 1, None),
        ("float", 0, 3000, 1, None), ("float", 0, 3000, ENOUGH, 4095), ("float", 0, 65535, 1, 65535),
        ("float", 0, 1e6, 100, None), ("float", -1, 1, 100, None), ("signed", -1024, 3071, 100, None),
        ("32-bit", 0, 1, 1, None), ("32-bit", 0, 200, 1, 255), ("32-bit", 0, 2**32 - 1, 1, None),
    ],
)  # fmt: skip
def test_what_the_values_tell(kind: str, low: float, high: float, count: int, white: float | None):
    found = DeepRange(kind, low, high, count)
    if white is None:
        with pytest.raises(ImageError, match="--black and --white"):
            found.decide("here")
        return
    scale, says = found.decide("here")
    assert scale == Scale(0, white) and f"taken as shares of {white:g}" in says


def test_signed_values_are_not_guessed(tmp_path: Path):
    """Computed tomography: air is -1000 and bone 1000 to 3000 Hounsfield units."""
    values = (FOUR.astype(np.int32) * 8 - 1000).astype(np.int32)
    path = write(tmp_path / "ct.tif", values)
    with pytest.raises(ImageError, match="signed values from -1000 to 1040: which value is black cannot be told"):
        decode(path)
    assert np.abs(levels(path, Scale(-1000, 1040)).astype(int) - FOUR).max() <= 1
    window = levels(path, Scale(0, 400, clips=True))
    assert window.min() == 0 and window.max() == 255, "a window clips"


def test_a_value_beyond_the_sets_white_is_an_error_and_not_clipped(tmp_path: Path):
    path = write(tmp_path / "a.tif", FOUR.astype(np.float32))
    with pytest.raises(ImageError, match="values from 0 to 255, but black is 0 and white is 1 in the other images"):
        decode(path, Scale(0, 1))


def test_eight_bits_have_no_scale(tmp_path: Path):
    path = write(tmp_path / "a.png", FOUR)
    assert deep_range(path, "a") is None and scale_of([path]) == (None, "")
    assert np.array_equal(levels(path, Scale(0, 4095)), FOUR)
