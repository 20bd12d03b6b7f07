"""Parses the values of options. They are checked before torch is imported, which takes seconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ...answers.policies import POLICIES
from ...bundles.finding import find_bundle
from ...errors import DataError, UsageError, unknown_name
from ...files import expanded
from ...images.finding import existing
from ...metrics.catalogue import ON_REQUEST
from ...runs.gates import NUMBER

STYLES = ("minimal", "human")
FORMATS = ("text", "json")
TABLE_FORMATS = ("table", "json", "csv", "markdown")
DEVICES = ("auto", "cpu", "cuda", "mps")
UNITS = {"s": 1, "m": 60, "h": 3600}  # seconds


def check_choice(kind: str, value: str, known: Sequence[str]) -> None:
    """Raise a UsageError that lists the known values, unless `value` is one of them."""
    if value not in known:
        raise unknown_name(kind, value, known)


def check_bundle(name: str) -> None:
    """Raise a UsageError unless there is a bundle of this name, or a directory.

    Raises:
        UsageError: there is neither.
    """
    find_bundle(name)


def check_confidence(confidence: float) -> None:
    """Raise a UsageError unless the confidence can be that of a valid counterfactual."""
    if not 0 < confidence < 1:
        raise UsageError(f"--confidence {confidence:g}: choose a probability between 0 and 1, such as 0.9")


def check_output(option: str, path: Path | None, *, directory: bool) -> None:
    """Raise a UsageError if an output is to be a directory and is a file, or the other way round."""
    if path is None:
        return
    if directory and path.exists() and not path.is_dir():
        raise UsageError(f"{option} {path}: a file, not a directory; choose another name")
    if not directory and path.is_dir():
        raise UsageError(f"{option} {path}: a directory, not a file; choose another name")


def check_images(images: str | None) -> None:
    """Raise an ImageError if the images are neither a file, a directory nor a glob."""
    if images is not None:
        existing(images)


def check_targets(targets: str) -> None:
    """Raise a DataError if the targets are neither a policy nor a file."""
    if targets not in POLICIES and not expanded(targets).is_file():
        raise DataError(
            f"--targets {targets}: neither {', '.join(POLICIES)} nor a CSV file that can be read; check the name"
        )


def check_run(option: str, directory: Path | None) -> None:
    """Raise a UsageError if the directory holds no run."""
    if directory is not None and not (directory / "manifest.json").is_file():
        raise UsageError(f"{option} {directory}: no run there (no manifest.json)")


def window(black: float | None, white: float | None) -> tuple[float, float] | None:
    """The values of black and white; None if they are to be found out.

    Raises:
        UsageError: white is missing, or not more than black.
    """
    if white is None:
        if black is not None:
            raise UsageError(f"--black {black:g}: needs --white, the value that means white")
        return None
    low = 0.0 if black is None else black
    if not low < white:
        raise UsageError(f"--white {white:g}: expected more than black, which is {low:g}")
    return low, white


def seconds(option: str, text: str) -> float:
    """Parse a duration such as "90s", "20m", "1h30m" or "2h", in seconds.

    Raises:
        UsageError: the text is not a duration.
    """
    amount = r"(\d+(?:\.\d+)?)\s*([smh])"
    text, total = text.strip().lower(), 0.0
    if text.isascii() and re.fullmatch(rf"(?:{amount}\s*)+", text):
        total = sum(float(number) * UNITS[unit] for number, unit in re.findall(amount, text))
    if not total:
        raise UsageError(f"{option} {text!r}: not a time; write it as 90s, 20m, 2h or 1h30m")
    return total


def batch_size(wanted: str) -> int | None:
    """Parse a batch size; None for "auto".

    Raises:
        UsageError: the text is neither "auto" nor a positive number.
    """
    if wanted == "auto":
        return None
    if not (wanted.isascii() and wanted.isdecimal()) or int(wanted) < 1:
        raise UsageError(f"--batch-size {wanted}: expected auto or a positive whole number")
    return int(wanted)


def metrics_of(option: str, text: str) -> tuple[str, ...]:
    """Parse names of metrics on request, "NAME,NAME": each once, in the order of the catalogue.

    Raises:
        UsageError: there is no such metric on request.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in ON_REQUEST:
            raise unknown_name(f"metric of {option}", name, ON_REQUEST)
    return tuple(name for name in ON_REQUEST if name in names)


def region_of(option: str, text: str) -> tuple[int, int, int, int]:
    """Parse a region: "10,4,20,8" -> (10, 4, 20, 8), x, y, width and height.

    Raises:
        UsageError: the text has another form, or the region no pixel.
    """
    found = re.fullmatch(r"(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)", text.strip(), re.ASCII)
    x, y, width, height = map(int, found.groups()) if found else (0, 0, 0, 0)
    if not (width and height):
        raise UsageError(f"{option} {text!r}: expected x,y,width,height in pixels, such as 0,0,14,28")
    return x, y, width, height


def sides(option: str, text: str) -> tuple[int, int]:
    """Parse height and width: "40x32" -> (40, 32); "64" -> (64, 64).

    Raises:
        UsageError: the text has another form.
    """
    found = re.fullmatch(r"(\d+)(?:\s*[x,]\s*(\d+))?", text.strip(), re.ASCII)
    height = int(found[1]) if found else 0
    width = int(found[2] or found[1]) if found else 0
    if not (height and width):
        raise UsageError(f"{option} {text!r}: expected height and width in pixels, such as 40x32")
    return height, width


def numbers(option: str, text: str) -> tuple[float, ...]:
    """Parse numbers separated by commas: "0.5" or "0.485,0.456,0.406".

    Raises:
        UsageError: the text has another form.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(re.fullmatch(NUMBER, word, re.ASCII | re.IGNORECASE) for word in words):
        raise UsageError(f"{option} {text!r}: expected numbers separated by commas, such as 0.485,0.456,0.406")
    return tuple(float(word) for word in words)
