"""Unique file names for the results of images and classes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence, Set
from pathlib import Path

# Bytes of a name of which several parts and an ending make a file's name, of which file systems take 255.
LONGEST_STEM, LONGEST_CLASS = 120, 80
DIGITS = 8  # of the digest of a name that is cut


def stems(images: Sequence[tuple[str, str]], out: Path) -> list[str]:
    """A unique name for each image's results: its stem, with -2, -3 ... if another image has the same stem.

    Args:
        images: name and sha256 of each image.
        out: directory of the results; images that it has results of keep their names, and the names are taken.
    """
    before = inputs_in(out, {stem_of(name).casefold() for name, _ in images})
    taken: set[str] = set()
    result = []
    for name, sha256 in images:
        own = stem_of(name)
        stem, number = own, 1
        # some file systems ignore case
        while stem.casefold() in taken or before.get(stem.casefold(), sha256) != sha256:
            number += 1
            stem = numbered(own, number)
        taken.add(stem.casefold())
        result.append(stem)
    return result


def stem_of(name: str) -> str:
    """The beginning of the names of an image's results: that of its own name, without the ending."""
    return shortened(Path(name).stem, LONGEST_STEM)


def numbered(stem: str, number: int) -> str:
    """The name of the results of another image that is called the same."""
    return f"{stem}-{number}"


def shortened(name: str, most: int) -> str:
    """A name of at most `most` bytes in UTF-8: a longer one is cut, and ends in a digest of the whole."""
    content = name.encode("utf-8", "surrogateescape")
    if len(content) <= most:
        return name
    digest = hashlib.sha256(content).hexdigest()[:DIGITS]
    return f"{content[: most - DIGITS - 1].decode('utf-8', 'ignore')}-{digest}"


def inputs_in(out: Path, wanted: Set[str]) -> dict[str, str]:
    """The sha256 of the image that records in a directory are about, by the records' stem in lower case.

    Args:
        out: the directory.
        wanted: stems in lower case; only records with these stems, or these and a number, are read.
    """
    found: dict[str, str] = {}
    try:
        records = [path for path in out.iterdir() if path.suffix == ".json"]
    except OSError:  # no directory yet
        return found
    for path in records:
        try:
            stem, engine, _ = path.stem.casefold().rsplit(".", 2)
            if wanted.isdisjoint((stem, re.sub(r"-\d+$", "", stem))):
                continue
            record = json.loads(path.read_bytes())
            if record["engine"].casefold() == engine:
                found[stem] = str(record.get("input_sha256"))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):  # another program's file
            continue
    return found


def file_names(classes: Sequence[str]) -> list[str]:
    """Each class name in a form that is valid in a file name; no two are equal."""
    names = [shortened(re.sub(r"[^\w-]+", "-", name).strip("-"), LONGEST_CLASS) for name in classes]
    folded = [name.casefold() for name in names]
    return [
        name if name and folded.count(name.casefold()) == 1 else f"{name or 'class'}-{index}"
        for index, name in enumerate(names)
    ]
