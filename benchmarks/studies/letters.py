"""Draws a data set of similar capital letters in colour, with real fonts and known factors of variation.

    python -m cfx.benchmarks.studies.letters OUT [--count 12000] [--seed 0] [--height 40] [--width 32]

writes one folder of PNG files for each class, and factors.csv with the font, colours, rotation and scale of each image.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ...errors import CfxError, OutputError, UsageError, reason_of
from .letter_fonts import Face, cap_height, installed_faces

# Each letter differs from another by one stroke: C and G, E and F, O and Q, P and R. Two classes are rare on purpose.
LETTERS = "CEFGOPQR"
SHARES = {letter: {"Q": 1 / 8, "G": 1 / 3}.get(letter, 1.0) for letter in LETTERS}
CLASSES = tuple(f"letter {letter}" for letter in LETTERS)

OVERSAMPLING = 4
MARGIN = 1.5  # free pixels on every side of the final image
SCALES = (0.5, 0.75)
ROTATIONS = (-10.0, 10.0)  # degrees
LEAST_CONTRAST = 2.5  # of 21; WCAG 2 requires 3 for large text that is easy to read
GRADIENT = 70  # of 255; maximum difference between the two background colours in each channel


@dataclass(frozen=True)
class Factors:
    """The factors of variation of an image.

    Attributes:
        font: name of the face.
        foreground: colour of the letter, "#rrggbb".
        background: the two colours of the background, "#rrggbb to #rrggbb".
        rotation: rotation in degrees, counter-clockwise.
        scale: height of the letter before rotation, relative to the image's height.
    """

    font: str
    foreground: str
    background: str
    rotation: float
    scale: float


def draw_letters(
    count: int,
    size: tuple[int, int],
    seed: int,
    fonts: Sequence[Face],
    report: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor, list[Factors]]:
    """Draw letters in random faces, colours, sizes, places and slants.

    Args:
        count: number of images N.
        size: (H, W) in pixels, at least 16 each.
        seed: seed of the random numbers; the same seed, size and fonts give the same images.
        fonts: the faces to choose from, at least one.
        report: called as report(images done, images in total) after each image.

    Returns:
        Images (N, 3, H, W) uint8; labels (N,) int64, which are indices into `CLASSES`; and the factors of each image.

    Raises:
        UsageError: there are too few images or pixels, or no fonts.
    """
    if count < len(LETTERS) or min(size) < 16 or not fonts:
        raise UsageError(
            f"{count} letters of {size[0]}x{size[1]} pixels in {len(fonts)} fonts: "
            f"at least {len(LETTERS)} letters, 16x16 pixels and one font are needed"
        )
    labels = _labels(count, np.random.default_rng(seed))
    images = torch.empty((count, 3, *size), dtype=torch.uint8)
    factors: list[Factors] = []
    for index, label in enumerate(labels):
        image, drawn = _draw(LETTERS[label], size, fonts, np.random.default_rng((seed, index)))
        images[index] = torch.from_numpy(image).permute(2, 0, 1)
        factors.append(drawn)
        if report is not None:
            report(index + 1, count)
    return images, torch.from_numpy(labels), factors


def _labels(count: int, rng: np.random.Generator) -> np.ndarray:
    """Labels (N,) int64 in random order. Each class has its share of the images, and at least one."""
    shares = np.array([SHARES[letter] for letter in LETTERS])
    counts = np.maximum(1, np.floor(count * shares / shares.sum()).astype(int))
    while counts.sum() > count:
        counts[counts.argmax()] -= 1
    full = np.flatnonzero(shares == 1)
    for turn in range(count - counts.sum()):
        counts[full[turn % len(full)]] += 1
    return rng.permutation(np.repeat(np.arange(len(LETTERS)), counts))


def _draw(
    letter: str, size: tuple[int, int], fonts: Sequence[Face], rng: np.random.Generator
) -> tuple[np.ndarray, Factors]:
    """Draw one image (H, W, 3) uint8; also returns its factors."""
    height, width = (OVERSAMPLING * side for side in size)
    margin = MARGIN * OVERSAMPLING
    face = fonts[int(rng.integers(len(fonts)))]
    rotation = float(rng.uniform(*ROTATIONS))
    scale = float(rng.uniform(*SCALES))
    mask = _letter(face, letter, scale * height, rotation)
    # A rotated letter that is too wide or too high is drawn smaller.
    shrink = min(1.0, (width - 2 * margin) / mask.width, (height - 2 * margin) / mask.height)
    if shrink < 1:
        scale *= shrink
        mask = _letter(face, letter, scale * height, rotation)
    left = int(rng.uniform(margin, max(margin, width - margin - mask.width)))
    top = int(rng.uniform(margin, max(margin, height - margin - mask.height)))
    foreground, one, other = _colours(rng)
    ground = _gradient((height, width), one, other, float(rng.uniform(0, 2 * np.pi)))
    picture = Image.fromarray(ground.round().astype(np.uint8))
    picture.paste(tuple(foreground.tolist()), (left, top), mask)
    picture = picture.resize((size[1], size[0]), Image.Resampling.BOX)
    background = f"{_hex(one)} to {_hex(other)}"
    return np.array(picture), Factors(face.name, _hex(foreground), background, round(rotation, 2), round(scale, 3))


def _letter(face: Face, letter: str, height: float, rotation: float) -> Image.Image:
    """The coverage mask of a letter in mode L, `height` pixels high before rotation, cropped to the letter."""
    font = face.at(max(1, round(height / cap_height(face))))
    left, top, right, bottom = (round(side) for side in font.getbbox(letter))
    mask = Image.new("L", (right - left + 2, bottom - top + 2))
    ImageDraw.Draw(mask).text((1 - left, 1 - top), letter, fill=255, font=font)
    turned = mask.rotate(rotation, Image.Resampling.BICUBIC, expand=True)
    return turned.crop(turned.getbbox())


def _colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sample a letter's colour and two background colours, (3,) uint8 each, with enough contrast everywhere."""
    while True:
        foreground, one = rng.integers(0, 256, (2, 3))
        other = np.clip(one + rng.integers(-GRADIENT, GRADIENT + 1, 3), 0, 255)
        between = [one + (other - one) * share for share in np.linspace(0, 1, 9)]
        if min(contrast(foreground, colour) for colour in between) >= LEAST_CONTRAST:
            return foreground.astype(np.uint8), one.astype(np.uint8), other.astype(np.uint8)


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """Contrast ratio in [1, 21] of two sRGB colours (3,) in [0, 255] (WCAG 2.2, "contrast ratio")."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: np.ndarray) -> float:
    """Relative luminance in [0, 1] (WCAG 2.2, "relative luminance")."""
    shares = np.asarray(colour, dtype=np.float64) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def _gradient(size: tuple[int, int], one: np.ndarray, other: np.ndarray, direction: float) -> np.ndarray:
    """A gradient (H, W, 3) from one colour to the other; `direction` is in radians."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / np.array(size).reshape(2, 1, 1)
    along = x * np.cos(direction) + y * np.sin(direction)
    along = (along - along.min()) / (along.max() - along.min())
    return one + along[..., None] * (other.astype(np.float64) - one)


def _hex(colour: np.ndarray) -> str:
    return "#" + bytes(colour.tolist()).hex()


def write_letters(out: Path, images: Tensor, labels: Tensor, factors: Sequence[Factors]) -> None:
    """Write one folder of PNG files for each class, and factors.csv. If anything fails, nothing is written.

    Raises:
        OutputError: `out` exists and is not an empty directory, or cannot be written.
    """
    _check_empty(out)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        try:
            for name in CLASSES:
                (partial / name).mkdir(parents=True)
            rows = StringIO(newline="")
            table = csv.writer(rows, lineterminator="\n")
            table.writerow(["file", "class", *(field.name for field in fields(Factors))])
            for index, (label, drawn) in enumerate(zip(labels.tolist(), factors, strict=True)):
                file = f"{CLASSES[label]}/{index:05d}.png"
                Image.fromarray(images[index].permute(1, 2, 0).contiguous().numpy()).save(partial / file)
                table.writerow([file, CLASSES[label], *asdict(drawn).values()])
            (partial / "factors.csv").write_text(rows.getvalue(), encoding="utf-8", newline="")
            if out.exists():
                out.rmdir()  # Windows cannot rename a directory onto another
            os.replace(partial, out)
        except BaseException:  # includes Ctrl-C, which must not leave half a data set
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise OutputError(f"{out}: could not be written ({reason_of(error)}); choose another directory") from error


def _check_empty(out: Path) -> None:
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists():
        raise OutputError(f"{out}: exists and is not an empty directory; choose another, or remove it")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line of the module, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cfx.benchmarks.studies.letters", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("out", type=Path, help="directory to write to, new or empty")
    parser.add_argument("--count", type=int, default=12000, help="number of images")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random number generator")
    parser.add_argument("--height", type=int, default=40, help="height of the images, in pixels")
    parser.add_argument("--width", type=int, default=32, help="width of the images, in pixels")
    options = parser.parse_args(arguments)
    try:
        _check_empty(options.out)
        fonts = installed_faces(LETTERS)
        report = _show if sys.stderr.isatty() else None
        drawn = draw_letters(options.count, (options.height, options.width), options.seed, fonts, report)
        write_letters(options.out.resolve(), *drawn)
    except CfxError as error:
        print("error:", error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    counts = torch.bincount(drawn[1], minlength=len(CLASSES)).tolist()
    each = ", ".join(f"{name} {count}" for name, count in zip(CLASSES, counts, strict=True))
    print(f"{options.out}: {options.count} images in {len(fonts)} fonts ({each})")
    print("fonts:", ", ".join(font.name for font in fonts))
    return 0


def _show(done: int, count: int) -> None:
    if done % 100 == 0 or done == count:
        print(f"\r{done} of {count} letters", end="\n" if done == count else "", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
