"""The errors that cfx reports to users: each message names the input, what is wrong, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches


class CfxError(Exception):
    """Base class of all errors that cfx raises on purpose; `str(error)` is the line shown to the user."""


class InputError(CfxError):
    """An input to be explained cannot be used."""


class ImageError(InputError):
    """An image could not be read."""


class DataError(CfxError):
    """A data set is missing or malformed."""


class BundleError(CfxError):
    """A bundle is missing, damaged or incomplete."""


class OutputError(CfxError):
    """A result could not be written."""


class UsageError(CfxError):
    """The request is invalid: an unknown class, engine, recipe or device."""


def reason_of(error: OSError) -> str:
    """The operating system's message, in lower case to be part of a sentence."""
    return (error.strerror or str(error)).lower()


def reason_in_brackets(error: Exception) -> str:
    """An error's message as one line without a full stop, to be put in brackets."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    said = " ".join(said.split())
    return said[:1].lower() + said[1:].rstrip(".")


def first_line(error: BaseException) -> str:
    """The first line of a library's error message, shortened to 120 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."


# Control characters, line separators, surrogates, and the marks that reverse the direction of text.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Lines that begin like this are commands to the log readers of GitHub Actions and Azure Pipelines.
_COMMAND = re.compile(r"^\s*(::|##\[|##vso)")


def printable(text: str) -> str:
    """Text from outside, such as a file's name, made safe for one line of a log: control characters are escaped."""
    text = _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return _COMMAND.sub(lambda found: f"\\{found[0].lstrip()}", text)


def few(names: Sequence[str], most: int = 8) -> str:
    """The first `most` names, separated by commas, and the number of the others."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def check_one_of(given: Mapping[str, bool]) -> None:
    """Raise a `UsageError` if more than one of the things that contradict each other was given, by their names."""
    together = [name for name, its in given.items() if its]
    if len(together) > 1:
        raise UsageError(f"{' and '.join(together)} contradict each other: ask for one of them")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """A `UsageError` with the unknown `name`, the most similar known name, and all known names."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}: {hint}known are {', '.join(known) or 'none'}")
