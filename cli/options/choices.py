"""Parses the values of options. They are checked before torch is imported, which takes seconds."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...counterfactuals.registry import engine_names
from ...errors import UsageError, unknown_name

FORMATS = ("text", "json")
TABLE_FORMATS = ("table", "json", "csv", "markdown")
DEVICES = ("auto", "cpu", "cuda", "mps")


def check_choice(kind: str, value: str, known: Sequence[str]) -> None:
    """Raise a UsageError that lists the known values, unless `value` is one of them."""
    if value not in known:
        raise unknown_name(kind, value, known)


def chosen_engines(wanted: str) -> list[str]:
    """Parse names such as "latent,vcnet"; "all" gives every engine.

    Raises:
        UsageError: a name is unknown.
    """
    known = engine_names()
    names = [name for name in dict.fromkeys(word.strip() for word in wanted.split(",")) if name]
    if "all" in names:
        return known
    for name in names or [wanted]:
        if name not in known:
            raise unknown_name("engine", name, [*known, "all"])
    return names


def asks_for_all(wanted: str) -> bool:
    """Whether "all" is among the names; then engines that cannot be used are left out."""
    return "all" in wanted.split(",")


def batch_size(wanted: str) -> int | None:
    """Parse a batch size; None for "auto".

    Raises:
        UsageError: the text is neither "auto" nor a positive number.
    """
    if wanted == "auto":
        return None
    if not wanted.isdecimal() or int(wanted) < 1:
        raise UsageError(f"--batch-size {wanted}: expected auto or a positive whole number")
    return int(wanted)


def sides(option: str, text: str) -> tuple[int, int]:
    """Parse height and width: "40x32" -> (40, 32); "64" -> (64, 64).

    Raises:
        UsageError: the text has another form.
    """
    found = re.fullmatch(r"(\d+)(?:\s*[x,]\s*(\d+))?", text.strip())
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
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise UsageError(
            f"{option} {text!r}: expected numbers separated by commas, such as 0.485,0.456,0.406"
        ) from None
