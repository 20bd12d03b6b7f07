"""Unique file names for the results of images and classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def stems(names: Sequence[str]) -> list[str]:
    """A unique name for each image's results: its stem, with -2, -3 ... if an earlier image has the same stem."""
    taken: set[str] = set()
    result = []
    for name in names:
        own = Path(name).stem
        stem, number = own, 1
        while stem.casefold() in taken:  # some file systems ignore case
            number += 1
            stem = f"{own}-{number}"
        taken.add(stem.casefold())
        result.append(stem)
    return result


def file_names(classes: Sequence[str]) -> list[str]:
    """Each class name in a form that is valid in a file name; no two are equal."""
    names = [re.sub(r"[^\w-]+", "-", name).strip("-") for name in classes]
    folded = [name.casefold() for name in names]
    return [
        name if name and folded.count(name.casefold()) == 1 else f"{name or 'class'}-{index}"
        for index, name in enumerate(names)
    ]
