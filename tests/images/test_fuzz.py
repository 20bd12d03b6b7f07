"""Two thousand damaged files: each gives a picture or one sentence, soon and in little memory."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cfx.errors import ImageError
from cfx.images.decoding import decode_bytes

DRAW = np.random.default_rng(7)
NOISE = DRAW.integers(0, 256, (40, 40, 3), dtype=np.uint8)
SEEDS: dict[str, tuple[str, Image.Image, dict[str, Any]]] = {
    "png": ("PNG", Image.fromarray(NOISE), {}),
    "png palette": ("PNG", Image.fromarray(NOISE).quantize(16), {"transparency": 3}),
    "png 16": ("PNG", Image.fromarray(NOISE[:, :, 0].astype(np.uint16) * 257), {}),
    "jpeg": ("JPEG", Image.fromarray(NOISE), {}),
    "jpeg cmyk": ("JPEG", Image.fromarray(NOISE).convert("CMYK"), {"progressive": True}),
    "gif": ("GIF", Image.fromarray(NOISE).quantize(64), {}),
    "bmp": ("BMP", Image.fromarray(NOISE), {}),
    "tiff": ("TIFF", Image.fromarray(NOISE[:, :, 0].astype(np.float32)), {"compression": "tiff_adobe_deflate"}),
    "webp": ("WEBP", Image.fromarray(NOISE), {"lossless": True}),
    "jpeg 2000": ("JPEG2000", Image.fromarray(NOISE), {}),
}
MUTATIONS = 200  # of each seed
SECONDS = 5
MEMORY = 1_000_000_000  # bytes


def flipped(content: bytearray) -> bytearray:
    """Some bits the other way."""
    for place in DRAW.integers(0, len(content), DRAW.integers(1, 9)):
        content[place] ^= 1 << int(DRAW.integers(0, 8))
    return content


def cut(content: bytearray) -> bytearray:
    """Cut off anywhere."""
    return content[: int(DRAW.integers(1, len(content)))]


def lengthened(content: bytearray) -> bytearray:
    """A wrong number, as of a length or a size, among the first bytes."""
    place = int(DRAW.integers(0, min(120, len(content) - 4)))
    content[place : place + 4] = int(DRAW.choice([0, 1, 2**16, 2**31 - 1, 2**32 - 1])).to_bytes(4, "big")
    return content


def doubled(content: bytearray) -> bytearray:
    """A piece of it twice."""
    start = int(DRAW.integers(0, len(content) - 1))
    return content[: start + 40] + content[start:]


MUTATE: tuple[Callable[[bytearray], bytearray], ...] = (flipped, cut, lengthened, doubled)


@pytest.mark.skipif(sys.platform == "win32", reason="needs an alarm and a resource's usage")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", SEEDS)
def test_every_damaged_file_is_a_picture_or_a_sentence(seed: str):
    format, picture, options = SEEDS[seed]
    stream = BytesIO()
    picture.save(stream, format, **options)
    whole = stream.getvalue()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def hangs(*_: object) -> None:
        raise TimeoutError

    handler = signal.signal(signal.SIGALRM, hangs)
    read = refused = 0
    try:
        for number in range(MUTATIONS):
            content = bytes(MUTATE[number % len(MUTATE)](bytearray(whole)))
            signal.alarm(SECONDS)
            try:
                found = decode_bytes(content, "a.file").picture
                assert found.mode in ("L", "LA", "RGB", "RGBA")
                read += 1
            except ImageError as error:
                says = str(error)
                assert says.startswith("a.file: ") and "\n" not in says and "; " in says, says
                refused += 1
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
    assert read and refused, "both happen, or the mutations are too weak or too strong"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    assert grown < MEMORY
