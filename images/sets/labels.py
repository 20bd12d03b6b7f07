"""Names of classes and splits: comparing, ordering, and mapping to labels."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import torch
from torch import Tensor

from ...errors import DataError, UsageError, reason_of

NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
WHOLE = re.compile(r"-?\d+\.0+", re.ASCII)

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    "": "",
}


def labelled(
    place: str, names: Sequence[str], classes: Sequence[str] | None, found: Sequence[str], kind: str
) -> tuple[Tensor, tuple[str, ...]]:
    """Labels (N,) int64 of images by the names of their classes, and the K classes.

    Args:
        place: the first words of an error message.
        names: N class names.
        classes: K names in the order of the logits; None takes `found` in natural order.
        found: all names, including those of classes without images.
        kind: what an error message calls a name of `found`.

    Raises:
        DataError: a name is not among `classes`; or, without `classes`, fewer than two classes have images.
    """
    if classes is None:
        if len(set(names)) < 2:
            raise DataError(f"{place}: images of one class only ({names[0]!r}); there must be at least two classes")
        known = natural(found)
    else:
        known = [composed(name) for name in classes]
    index = {name: at for at, name in enumerate(known)}
    for name in found:
        if name not in index:
            index[name] = _named(place, name, known, kind)
    return torch.tensor([index[name] for name in names], dtype=torch.int64), tuple(known)


def _named(place: str, name: str, known: Sequence[str], kind: str) -> int:
    """The index of a name that differs from that of a class only in what people overlook."""
    try:
        found = similar(name, known)
    except UsageError as error:
        raise DataError(f"{place}: {kind} {error}") from error
    if found is None:
        near = get_close_matches(name, known, n=1, cutoff=0.0)
        hint = f"; the nearest is {near[0]!r}" if near else ""
        raise DataError(f"{place}: {kind} {name!r} is none of the {len(known)} classes given{hint}")
    return found


def natural(names: Sequence[str]) -> list[str]:
    """Sorts names as torchvision's ImageFolder does, but by value if all names are numbers."""
    if all(NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names)


def whole_numbers(names: Sequence[str]) -> list[str]:
    """Names such as "10.0" as "10", if all are whole numbers: so pandas writes a column in which a cell is missing."""
    return [name.partition(".")[0] for name in names] if all(WHOLE.fullmatch(name) for name in names) else [*names]


def settled(where: Sequence[str]) -> tuple[str, ...]:
    """Each image's split as "train", "test" or "": validation counts as test only if there is no test split."""
    kinds = [SPLITS[name] for name in where]
    validation = "train" if "test" in kinds else "test"
    return tuple(validation if kind == "val" else kind for kind in kinds)


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): macOS decomposes accented letters in file names."""
    return unicodedata.normalize("NFC", name)


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, with or without a byte order mark; raises DataError if it is not one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: could not be read ({reason_of(error)}); check the name") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or (b"\0" in content[:64] and content[:64].count(b"\0") > 4):
        raise DataError(f'{path}: is text in UTF-16, as Excel\'s "Unicode Text"; save it as CSV in UTF-8')
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not a UTF-8 text file; save it as UTF-8") from error


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names, those that occur more than once with their index added: "crane (134)", "crane (517)"."""
    count = Counter(names)
    told_apart = [f"{name} ({index})" if count[name] > 1 else name for index, name in enumerate(names)]
    if len({*told_apart}) < len(names):  # one was named "crane (134)" before
        return tuple(f"{name} ({index})" for index, name in enumerate(names))
    return tuple(told_apart)


def class_index(wanted: str, classes: Sequence[str]) -> int | None:
    """The index of a class that is given by name or index; None if there is no such class.

    An exact name goes before an index, and an index before a name that differs in what people overlook (`folded`).
    Where names of classes are numbers, a number is a name and never an index.

    Raises:
        UsageError: several names differ from the wanted one only in that, or in an index that tells them apart.
    """
    if wanted in classes:
        return list(classes).index(wanted)
    same = [index for index, name in enumerate(classes) if composed(name) == composed(wanted)]
    if len(same) == 1:
        return same[0]
    if wanted.isascii() and wanted.isdecimal() and not any(name.isdecimal() for name in classes):
        return int(wanted) if int(wanted) < len(classes) else None
    return similar(wanted, classes)


def similar(wanted: str, classes: Sequence[str]) -> int | None:
    """The index of the class whose name differs from the wanted one only in what people overlook, if in anything.

    Raises:
        UsageError: there are several.
    """
    found = [index for index, name in enumerate(classes) if folded(name) == folded(wanted)]
    if not found:  # of one name, told apart by `distinct`
        found = [index for index, name in enumerate(classes) if folded(name) == folded(f"{wanted} ({index})")]
    if len(found) > 1:
        names = " and ".join(repr(classes[index]) for index in found)
        raise UsageError(f"class {wanted!r}: may be {names}; write it exactly, or give its index")
    return found[0] if found else None


def folded(name: str) -> str:
    """A class name without the differences that people overlook.

    These are upper case, more or other blanks, and other forms of the same characters (NFKC): full width, ligatures,
    letters and their accents in one or in two.
    """
    plain = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", plain).split())
