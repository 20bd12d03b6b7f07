"""A corpus of image files of every kind, each with the picture that it must give.

What is expected is computed from the values that are put into a file, not read from it; PNGs and TIFFs are also read by
pypng and tifffile, which share no code with Pillow.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import png
import pytest
import tifffile
from PIL import Image, ImageCms

from cfx.errors import ImageError
from cfx.images.decoding import decode, header
from cfx.images.reading import without_alpha
from cfx.images.scale import Scale

SIDE = 16
DRAW = np.random.default_rng(0)
RAMP = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
COLOURS = DRAW.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
ALPHA = np.where(np.arange(SIDE) < SIDE // 2, 0, 255).astype(np.uint8)[None].repeat(SIDE, axis=0)


def pixels(path: Path, scale: Scale | None = None) -> np.ndarray:
    """The decoded picture: (H, W) or (H, W, 3), with transparent pixels on white or black as cfx lays them."""
    return np.asarray(without_alpha(decode(path, scale), light_on_dark=False).picture)


# PNG: every colour type and bit depth (PNG specification, third edition, table 11.1)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_png(path: Path, samples: np.ndarray, depth: int, colour: int, *chunks: bytes) -> Path:
    """Write samples (H, W) or (H, W, C) of `depth` bits as a PNG of a colour type."""
    rows = samples.reshape(len(samples), -1)
    if depth == 16:
        packed = rows.astype(">u2").view(np.uint8)
    else:
        bits = np.unpackbits(rows.astype(np.uint8)[:, :, None], axis=2)[:, :, 8 - depth :]
        packed = np.packbits(bits.reshape(len(rows), -1), axis=1)
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))
    body = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", data)
    path.write_bytes(body + chunk(b"IEND", b""))
    return path


def levels(depth: int, *shape: int) -> np.ndarray:
    """Random samples of `depth` bits, the extremes among them."""
    found = DRAW.integers(0, 2**depth, shape, dtype=np.int64)
    found.flat[0], found.flat[1] = 0, 2**depth - 1
    return found


def to_bytes(samples: np.ndarray, depth: int) -> np.ndarray:
    """Samples scaled to 8 bits."""
    return np.round(samples * 255 / (2**depth - 1)).astype(int)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("key", [False, True], ids=["opaque", "key"])
def test_grey_png(tmp_path: Path, depth: int, key: bool):
    samples = levels(depth, SIDE, SIDE)
    transparent = int(samples[3, 3])
    chunks = [chunk(b"tRNS", struct.pack(">H", transparent))] if key else []
    path = write_png(tmp_path / "grey.png", samples, depth, 0, *chunks)
    found = decode(path).picture
    expected = to_bytes(samples, depth)
    assert np.abs(np.asarray(found.getchannel(0)).astype(int) - expected).max() <= (depth == 16)
    if key:
        alpha = np.where(samples == transparent, 0, 255)
        assert np.array_equal(np.asarray(found.getchannel("A")), alpha)
        width, _, rows, info = png.Reader(bytes=path.read_bytes()).asRGBA()
        independent = np.vstack([np.asarray(row) for row in rows]).reshape(SIDE, width, 4)
        assert np.array_equal(independent[:, :, 3] > 0, alpha > 0)
        assert info["alpha"]


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("key", [False, True], ids=["opaque", "key"])
def test_colour_png(tmp_path: Path, depth: int, key: bool):
    samples = levels(depth, SIDE, SIDE, 3)
    transparent = samples[3, 3].tolist()
    chunks = [chunk(b"tRNS", struct.pack(">HHH", *transparent))] if key else []
    found = decode(write_png(tmp_path / "rgb.png", samples, depth, 2, *chunks)).picture
    assert np.abs(np.asarray(found)[:, :, :3].astype(int) - to_bytes(samples, depth)).max() <= (depth == 16)
    if key:
        assert np.array_equal(np.asarray(found)[:, :, 3] == 0, (samples == transparent).all(axis=2))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True], ids=["opaque", "tRNS"])
def test_palette_png(tmp_path: Path, depth: int, transparent: bool):
    indices, palette = levels(depth, SIDE, SIDE), levels(8, 2**depth, 3)
    chunks = [chunk(b"PLTE", palette.astype(np.uint8).tobytes())]
    chunks += [chunk(b"tRNS", b"\x00")] if transparent else []
    found = np.asarray(decode(write_png(tmp_path / "p.png", indices, depth, 3, *chunks)).picture)
    visible = indices != 0 if transparent else np.ones_like(indices, dtype=bool)
    assert np.array_equal(found[visible][:, :3], palette[indices][visible])
    assert not transparent or np.array_equal(found[:, :, 3] > 0, visible)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [2, 4])
def test_png_with_alpha(tmp_path: Path, depth: int, channels: int):
    samples = levels(depth, SIDE, SIDE, channels)
    found = np.asarray(decode(write_png(tmp_path / "a.png", samples, depth, 4 if channels == 2 else 6)).picture)
    found = found[:, :, [0, 3]] if (channels, depth) == (2, 16) else found  # Pillow makes them RGBA
    assert np.abs(found.astype(int) - to_bytes(samples, depth)).max() <= (depth == 16)


def test_the_key_is_shown_as_its_twin_with_alpha(tmp_path: Path):
    """The same picture twice, with a key below 8 bits and with an alpha channel, is read alike."""
    samples = levels(4, SIDE, SIDE)
    key = write_png(tmp_path / "key.png", samples, 4, 0, chunk(b"tRNS", b"\x00\x08"))
    both = np.stack([samples * 17, np.where(samples == 8, 0, 255)], axis=2)
    twin = write_png(tmp_path / "twin.png", both, 8, 4)
    assert np.array_equal(pixels(key), pixels(twin))


# TIFF: depths, byte orders, compressions, photometric interpretations


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", ["u1", "u2", "i1", "i2", "u4", "i4", "f4"])
def test_grey_tiff(tmp_path: Path, order: str, compression: str | None, kind: str) -> None:
    shares = RAMP.astype(float) / 255
    black, white = {"u1": (0, 255), "u2": (0, 65535), "i1": (-128, 127), "i2": (-1000, 3000), "u4": (0, 2**32 - 1),
                    "i4": (-(2**20), 2**20), "f4": (-1024.0, 3071.0)}[kind]  # fmt: skip
    values = (black + shares * (white - black)).round().astype(f"{order}{kind}")
    path = tmp_path / "grey.tif"
    tifffile.imwrite(path, values, byteorder=order, compression=compression)
    assert np.array_equal(tifffile.imread(path), values)
    if (order, kind) == (">", "u4"):  # Pillow does not know them
        with pytest.raises(ImageError, match="a TIFF file of a kind that cfx cannot read"):
            decode(path)
        return
    found = pixels(path, Scale(black, white))
    assert np.abs(found.astype(int) - RAMP).max() <= (kind == "i2")


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_colour_tiff(tmp_path: Path, planar: Any, compression: str | None):
    path, values = tmp_path / "rgb.tif", COLOURS if planar == "contig" else COLOURS.transpose(2, 0, 1)
    tifffile.imwrite(path, values, photometric="rgb", planarconfig=planar, compression=compression)
    assert np.array_equal(pixels(path), COLOURS)


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_white_is_zero(tmp_path: Path, kind: str):
    values = (255 - RAMP).astype(kind) * (257 if kind == "u2" else 1)
    tifffile.imwrite(tmp_path / "w.tif", values, photometric="miniswhite")
    assert np.array_equal(pixels(tmp_path / "w.tif"), RAMP)


# Other formats, orientation


def save(picture: Image.Image, path: Path, **options: Any) -> Path:
    picture.save(path, **options)
    return path


LOSSLESS: dict[str, tuple[str, Callable[[], Image.Image], dict[str, Any]]] = {
    "bmp grey": ("a.bmp", lambda: Image.fromarray(RAMP), {}),
    "bmp colour": ("a.bmp", lambda: Image.fromarray(COLOURS), {}),
    "bmp one bit": ("a.bmp", lambda: Image.fromarray(RAMP > 127), {}),
    "bmp palette": ("a.bmp", lambda: Image.fromarray(RAMP // 32 * 32).quantize(8), {}),
    "pgm": ("a.pgm", lambda: Image.fromarray(RAMP), {}),
    "ppm": ("a.ppm", lambda: Image.fromarray(COLOURS), {}),
    "pbm": ("a.pbm", lambda: Image.fromarray(RAMP > 127), {}),
    "gif": ("a.gif", lambda: Image.fromarray(RAMP // 32 * 32), {}),
    "webp": ("a.webp", lambda: Image.fromarray(COLOURS), {"lossless": True}),
    "webp with alpha": ("a.webp", lambda: Image.fromarray(np.dstack([COLOURS, ALPHA])),
                        {"lossless": True, "exact": True}),
    "jpeg 2000": ("a.jp2", lambda: Image.fromarray(COLOURS), {"irreversible": False}),
    "jpeg 2000 grey": ("a.jp2", lambda: Image.fromarray(RAMP), {"irreversible": False}),
    "png interlaced": ("a.png", lambda: Image.fromarray(COLOURS), {}),
    "ico": ("a.ico", lambda: Image.fromarray(COLOURS).resize((16, 16)), {"sizes": [(16, 16)]}),
    "tiff lzw": ("a.tif", lambda: Image.fromarray(COLOURS), {"compression": "tiff_lzw"}),
    "tiff deflate": ("a.tif", lambda: Image.fromarray(RAMP), {"compression": "tiff_adobe_deflate"}),
    "tiff group 4": ("a.tif", lambda: Image.fromarray(RAMP > 127), {"compression": "group4"}),
    "another ending": ("a.jpg", lambda: Image.fromarray(RAMP), {"format": "PNG"}),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless(tmp_path: Path, name: str):
    file, make, options = LOSSLESS[name]
    picture = make()
    whole = picture.convert("RGBA" if "alpha" in name else "RGB")
    found = decode(save(picture, tmp_path / file, **options)).picture.convert(whole.mode)
    assert np.array_equal(np.asarray(found), np.asarray(whole))


@pytest.mark.parametrize(("mode", "options"), itertools.product(("L", "RGB"), ({}, {"progressive": True})))
def test_jpeg(tmp_path: Path, mode: str, options: dict[str, Any]):
    smooth = Image.fromarray(RAMP).resize((64, 64), Image.Resampling.BICUBIC).convert(mode)
    found = np.asarray(decode(save(smooth, tmp_path / "a.jpg", quality=95, **options)).picture.convert(mode))
    assert np.abs(found.astype(int) - np.asarray(smooth).astype(int)).mean() < 2


@pytest.mark.parametrize("format", ["jpg", "png", "webp", "tif", "deflate.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path: Path, format: str, orientation: int):
    """EXIF 2.32, section 4.6.4: where the 0th row and the 0th column of the stored picture are when upright."""
    stored = np.zeros((16, 32), dtype=np.uint8)
    stored[:8, :16], stored[:8, 16:], stored[8:, :16] = 80, 160, 240
    upright = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.T,
        6: stored[::-1].T, 7: stored[::-1, ::-1].T, 8: stored[:, ::-1].T,
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"webp": {"lossless": True}, "deflate.tif": {"compression": "tiff_adobe_deflate"}}.get(
        format, {}
    )
    found = pixels(save(Image.fromarray(stored), tmp_path / f"a.{format}", exif=exif, **options))
    grey = found if found.ndim == 2 else found[:, :, 0]
    assert grey.shape == upright.shape and np.abs(grey.astype(int) - upright).max() < 12
    assert header(tmp_path / f"a.{format}", "a").size == upright.shape


# Colour profiles


def display_p3() -> bytes:
    """A profile of the primaries and white of Display P3 with the curve of sRGB, as phones write it (ICC.1:2022)."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    def text(kind: bytes, words: str) -> bytes:
        encoded = words.encode("utf-16-be")
        return kind + bytes(4) + struct.pack(">II", 1, 12) + b"enUS" + struct.pack(">II", len(encoded), 28) + encoded

    # Primaries of SMPTE EG 432-1 adapted to D50 by Bradford's matrix.
    columns = {b"rXYZ": (0.51512, 0.2412, -0.00105), b"gXYZ": (0.29198, 0.69225, 0.04189),
               b"bXYZ": (0.1571, 0.06657, 0.78407), b"wtpt": (0.9642, 1.0, 0.8249)}  # fmt: skip
    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    tags = {b"desc": text(b"mluc", "Display P3"), b"cprt": text(b"mluc", "none")}
    tags |= {name: b"XYZ " + bytes(4) + fixed(*values) for name, values in columns.items()}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    offset, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", offset + len(data), len(content))
        data += content
    body = struct.pack(">I", len(tags)) + table + data
    header = struct.pack(">I", 128 + len(body)) + bytes(4) + b"\x04\x30\x00\x00mntrRGB XYZ " + bytes(12) + b"acsp"
    return header.ljust(68, b"\0") + fixed(0.9642, 1.0, 0.8249) + bytes(48) + body


def p3_to_srgb(values: np.ndarray) -> np.ndarray:
    """8-bit Display P3 as 8-bit sRGB, by the matrices of both colour spaces."""
    linear = np.where(values / 255 <= 0.04045, values / 255 / 12.92, ((values / 255 + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
    mixed = (linear @ matrix.T).clip(0, 1)
    return 255 * np.where(mixed <= 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("format", ["png", "tif", "webp"])
def test_display_p3_is_converted_to_srgb(tmp_path: Path, format: str):
    options: dict[str, Any] = {"lossless": True} if format == "webp" else {}
    path = save(Image.fromarray(COLOURS), tmp_path / f"a.{format}", icc_profile=display_p3(), **options)
    found = decode(path)
    assert found.notes == ("converted from the colours of its profile (Display P3) to sRGB",)
    assert np.abs(np.asarray(found.picture).astype(int) - p3_to_srgb(COLOURS)).mean() < 1
    assert np.abs(COLOURS.astype(int) - p3_to_srgb(COLOURS)).mean() > 5, "otherwise nothing is tested"
    assert (
        "srgb"
        in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(found.picture.info["icc_profile"]))).lower()
    )


@pytest.mark.parametrize("profile", ["sRGB", "none"])
def test_srgb_is_left_alone(tmp_path: Path, profile: str):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() if profile == "sRGB" else None
    found = decode(save(Image.fromarray(COLOURS), tmp_path / "a.png", icc_profile=icc))
    assert found.notes == () and np.array_equal(np.asarray(found.picture), COLOURS)


def test_a_profile_keeps_alpha(tmp_path: Path):
    path = save(Image.fromarray(np.dstack([COLOURS, ALPHA])), tmp_path / "a.png", icc_profile=display_p3())
    found = np.asarray(decode(path).picture)
    assert np.array_equal(found[:, :, 3], ALPHA)
    assert np.abs(found[:, :, :3].astype(int) - p3_to_srgb(COLOURS)).mean() < 1


@pytest.mark.parametrize("profile", [b"no profile", display_p3()[:200]])
def test_a_damaged_profile_is_ignored_aloud(tmp_path: Path, profile: bytes):
    found = decode(save(Image.fromarray(COLOURS), tmp_path / "a.png", icc_profile=profile))
    assert found.notes == ("its colour profile is damaged or of another kind of picture: it is ignored",)
    assert np.array_equal(np.asarray(found.picture), COLOURS)


def test_a_profile_of_another_kind_of_picture_is_ignored_aloud(tmp_path: Path):
    found = decode(save(Image.fromarray(RAMP), tmp_path / "a.png", icc_profile=display_p3()))
    assert len(found.notes) == 1 and np.array_equal(np.asarray(found.picture), RAMP)
