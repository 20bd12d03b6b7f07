"""Reading whatever image file a user has as the model's image batch expects it, and writing images.

Reading converts rather than refuses, and says in a note what it had to decide. Only what is damaged, unsafe
or no image at all is refused, with a sentence.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .decoding import decode
from .errors import ImageError, UsageError, reason_of, unknown_name
from .files import write_bytes

EXTENSIONS = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".jp2", ".gif", ".webp", ".avif"),
    *(".tif", ".tiff", ".bmp", ".dib", ".ico", ".pbm", ".pgm", ".ppm", ".pnm"),
)

# Of 255. Below it, what is darker than a light ground is paper and noise rather than strokes.
LEAST_CONTRAST = 25


FITS = ("pad", "crop", "stretch")
"""How an image of other proportions comes into a shape: kept whole and padded, cut to cover it, or distorted."""

Box = tuple[int, int, int, int]
"""left, top, right, bottom, in pixels"""


@dataclass(frozen=True)
class Placement:
    """Which part of the upright picture in a file became which part of the image read from it.

    Attributes:
        size: (width, height) of the picture.
        source: in the picture.
        target: in the image.
    """

    size: tuple[int, int]
    source: Box
    target: Box

    @property
    def shrinks(self) -> bool:
        """Whether the image holds fewer pixels than the picture did."""
        return self.source[2] - self.source[0] > self.target[2] - self.target[0]


@dataclass(frozen=True)
class ReadImage:
    """An image as the model takes it.

    Attributes:
        pixels: (C, H, W) float32 in [0, 1], multiples of 1/255.
        notes: what had to be decided in reading it, one sentence each.
        placement: where it lies in the picture.
    """

    pixels: Tensor
    notes: tuple[str, ...]
    placement: Placement


def find_images(patterns: Sequence[str]) -> list[Path]:
    """The files that a user means by files, directories (their images by extension) and globs.

    Keeps the order of the patterns, sorts within each directory and glob, and drops repeats.

    Raises:
        ImageError: a file is missing, a directory has no images, a glob matches nothing.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        for path in _matches(os.fspath(pattern)):
            found.setdefault(os.path.abspath(path), path)
    return list(found.values())


def _matches(pattern: str) -> list[Path]:
    if not pattern:
        raise ImageError("'': an empty file name; give an image, a directory or a glob")
    if os.path.isdir(pattern):
        try:
            inside = sorted(Path(pattern).iterdir())
        except OSError as error:
            raise ImageError(f"{pattern}: could not be listed ({reason_of(error)}); check its permissions") from error
        images = [
            path
            for path in inside
            # a leading dot marks, among others, the "._name.png" in which macOS keeps a file's attributes
            if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
        ]
        if not images:
            raise ImageError(f"{pattern}: a directory without images; give one that holds PNG or JPEG files")
        return images
    if os.path.exists(pattern):  # before globs: a file may be named "digit[1].png"
        return [Path(pattern)]
    if has_magic(pattern):
        files = [Path(name) for name in sorted(glob(pattern, recursive=True)) if os.path.isfile(name)]
        if not files:
            raise ImageError(f"{pattern}: matches no file; check the pattern and its directory")
        return files
    raise ImageError(f"{pattern}: no such file; check the name and the directory")


def read_image(
    path: Path,
    shape: tuple[int, int, int],
    *,
    invert: bool = False,
    light_on_dark: bool = False,
    fit: str = "pad",
) -> ReadImage:
    """Read an image file in the model's shape.

    An 8-bit greyscale file of the right size comes through bit for bit. Anything else is converted: depth,
    palette, colour, transparency, EXIF rotation, size. By default proportions are kept; what is missing to the shape
    is filled with the median colour of the border.

    Args:
        path: PNG, JPEG, GIF, TIFF, BMP, WebP, AVIF, JPEG 2000, PPM or ICO; of several frames, the first.
        shape: (C, H, W), C being 1 or 3.
        invert: turn light to dark and dark to light.
        light_on_dark: the model knows light strokes on a dark ground; note where the image has dark on light.
        fit: one of `FITS`.

    Raises:
        ImageError: the file is missing, unreadable, empty, not an image, damaged, or too large to open.
        UsageError: C is neither 1 nor 3.
    """
    channels, height, width = shape
    if channels not in (1, 3):
        raise UsageError(f"shape {shape}: only images of 1 or 3 channels can be read from a file")
    notes: list[str] = []
    picture = decode(Path(path), notes)
    picture = without_alpha(picture, light_on_dark, notes)
    picture = picture.convert("L" if channels == 1 else "RGB")
    picture, placement = fitted(picture, (width, height), notes, fit)
    values = np.array(picture).reshape(height, width, channels)
    if invert:
        values = 255 - values
    elif light_on_dark and _looks_dark_on_light(values):
        notes.append("looks like dark on light; the model knows light on dark: try --invert")
    pixels = torch.from_numpy(values).permute(2, 0, 1).contiguous().float() / 255
    return ReadImage(pixels, tuple(notes), placement)


def carry_back(path: Path, change: Tensor, placement: Placement, *, light_on_dark: bool = False) -> Image.Image:
    """The picture in a file with a change made to it at its own size.

    Args:
        path: what `read_image` has read.
        change: (C, H, W) in [-1, 1], what is added to the image that was read.
        placement: of that image.
        light_on_dark: as in `read_image`.

    Raises:
        ImageError: as `read_image`.
    """
    picture = without_alpha(decode(Path(path), []), light_on_dark, [])
    left, top, right, bottom = placement.target
    part = change[None, :, top:bottom, left:right].float()
    left, top, right, bottom = placement.source
    enlarged = F.interpolate(part, (bottom - top, right - left), mode="bicubic", align_corners=False)[0]
    values = np.asarray(picture).astype(np.float32)
    values = values[:, :, None] if values.ndim == 2 else values
    if len(enlarged) == 3 and values.shape[2] == 1:
        values = values.repeat(3, axis=2)
    values[top:bottom, left:right] += 255 * enlarged.permute(1, 2, 0).numpy()
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8).squeeze())


def without_alpha(picture: Image.Image, light_on_dark: bool, notes: list[str]) -> Image.Image:
    """Laid on the ground that the model expects, or on the other one where strokes would vanish in it."""
    if not picture.mode.endswith("A"):
        return picture
    alpha = picture.getchannel("A")
    picture = picture.convert(picture.mode[:-1])
    weight = np.asarray(alpha, dtype=np.float32)
    if weight.min() == 255:
        return picture
    black_ground = light_on_dark
    seen = "nothing in it is visible"
    if weight.any():
        brightness = float(np.average(np.asarray(picture.convert("L")), weights=weight)) / 255
        # a photograph is cut out for white paper, and stays visible there unless it is very light
        black_ground = brightness >= (0.5 if light_on_dark else 0.75)
        seen = f"what is visible is {'light' if black_ground else 'dark'}"
    notes.append(f"transparent: laid on {'black' if black_ground else 'white'} ({seen})")
    laid = Image.new(picture.mode, picture.size, "black" if black_ground else "white")
    laid.paste(picture, mask=alpha)
    return laid


def fitted(
    picture: Image.Image, size: tuple[int, int], notes: list[str], how: str = "pad"
) -> tuple[Image.Image, Placement]:
    """Resized to `size` (width, height), in its own proportions unless `how` is "stretch"; and where it lies.

    Raises:
        UsageError: `how` is none of `FITS`.
    """
    if how not in FITS:
        raise unknown_name("fit", how, FITS)
    before, whole = picture.size, (0, 0, *size)
    source = (0, 0, *before)
    if before == size:
        return picture, Placement(before, source, whole)
    if how == "crop":
        scale = max(size[0] / before[0], size[1] / before[1])
        width, height = (min(side, round(wanted / scale)) for side, wanted in zip(before, size, strict=True))
        left, top = (before[0] - width) // 2, (before[1] - height) // 2
        source = (left, top, left + width, top + height)
    if how != "pad":
        cut = "" if source == (0, 0, *before) else f", the middle {source[2] - source[0]}x{source[3] - source[1]} of it"
        notes.append(f"resized from {before[0]}x{before[1]}{cut} to {size[0]}x{size[1]}")
        return picture.resize(size, Image.Resampling.HAMMING, box=source), Placement(before, source, whole)
    scale = min(size[0] / before[0], size[1] / before[1])
    width, height = (max(1, round(side * scale)) for side in before)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    note = f"resized from {before[0]}x{before[1]} to {width}x{height}"
    # Hamming: antialiased, and unlike bicubic or Lanczos without halos on a flat ground. On MNIST and
    # Fashion-MNIST enlarged tenfold and read back, its error is between half and three quarters of bilinear's.
    picture = picture.resize((width, height), Image.Resampling.HAMMING)
    if (width, height) != size:
        note += f" and padded to {size[0]}x{size[1]}"
        values = np.array(picture)
        colour = np.median(_border(values), axis=0).round().astype(int)
        padded = Image.new(picture.mode, size, tuple(colour.tolist()) if colour.ndim else int(colour))
        padded.paste(picture, (left, top))
        picture = padded
    notes.append(note)
    return picture, Placement(before, source, (left, top, left + width, top + height))


def _border(values: np.ndarray) -> np.ndarray:
    """The outermost pixels of (H, W, ...), each once: (P, ...)."""
    edge = np.ones(values.shape[:2], dtype=bool)
    edge[1:-1, 1:-1] = False
    return values[edge]


def _looks_dark_on_light(values: np.ndarray) -> bool:
    """Whether 8-bit values (H, W, C) stray from their border's median more to the dark than to the light."""
    grey = values.mean(axis=2)
    ground = float(np.median(_border(grey)))
    darker, lighter = ground - grey.min(), grey.max() - ground
    return bool(darker > max(lighter, LEAST_CONTRAST))


def to_picture(image: Tensor) -> Image.Image:
    """An image (C, H, W) in [0, 1], C being 1 or 3, as a Pillow picture of 8 bits a channel.

    Raises:
        UsageError: of any other shape.
    """
    if image.dim() != 3 or image.shape[0] not in (1, 3):
        raise UsageError(f"an image to draw must be (1, H, W) or (3, H, W), got {tuple(image.shape)}")
    values = (image.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)
    planes = values[0] if len(values) == 1 else values.permute(1, 2, 0).contiguous()
    return Image.fromarray(planes.numpy())


def write_png(path: Path, image: Tensor) -> None:
    """Write an image (C, H, W) in [0, 1], C being 1 or 3, as a PNG of 8 bits a channel.

    Raises:
        OutputError: it could not be written.
        UsageError: as `to_picture`.
    """
    write_picture(path, to_picture(image))


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write a Pillow picture as PNG.

    Raises:
        OutputError: it could not be written.
    """
    write_bytes(path, as_png(picture))


def as_png(picture: Image.Image) -> bytes:
    """A Pillow picture as the bytes of a PNG file."""
    content = BytesIO()
    picture.save(content, "PNG", optimize=True)
    return content.getvalue()


def write_gif(path: Path, pictures: Sequence[Image.Image], milliseconds: int) -> None:
    """Write pictures of one size as an endless animation.

    Args:
        path: the file.
        pictures: at least one.
        milliseconds: how long each is shown; GIF rounds to 10.

    Raises:
        OutputError: it could not be written.
        UsageError: there are no pictures.
    """
    if not pictures:
        raise UsageError(f"{path}: an animation needs at least one picture")
    content = BytesIO()
    first, *others = pictures
    first.save(content, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    write_bytes(path, content.getvalue())


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (N, C, H, W) in another size (H, W), differentiable; the same images where it is their own."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
