"""The one family of errors a user of cfx meets: a sentence that names the input, the fault and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class CfxError(Exception):
    """Base of every error that cfx raises on purpose; `str(error)` is the one line that a user reads."""


class InputError(CfxError):
    """Something that was given to be explained cannot be used."""


class ImageError(InputError):
    """An image could not be read."""


class DataError(CfxError):
    """A data set is missing or malformed."""


class BundleError(CfxError):
    """A bundle is missing, damaged or incomplete."""


class OutputError(CfxError):
    """A result could not be written."""


class UsageError(CfxError):
    """The request itself does not make sense: an unknown class, engine, recipe or device."""


def reason_of(error: OSError) -> str:
    """What the system says went wrong, to be put into a sentence."""
    return (error.strerror or str(error)).lower()


def first_line(error: BaseException) -> str:
    """What a library's error says, as much of it as fits into a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."


def few(names: Sequence[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """A `UsageError` that names the unknown `name`, its nearest known neighbour, and all that is known."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}: {hint}known are {', '.join(known) or 'none'}")
