"""Where results go: file names that no two inputs and no two classes share, in a writable directory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def stems(paths: Sequence[Path]) -> list[str]:
    """A name for each image's results: its stem, with -2, -3 ... where an earlier image has taken that."""
    taken: set[str] = set()
    result = []
    for path in paths:
        stem, number = path.stem, 1
        while stem.casefold() in taken:  # some file systems do not tell A from a
            number += 1
            stem = f"{path.stem}-{number}"
        taken.add(stem.casefold())
        result.append(stem)
    return result


def file_names(classes: Sequence[str]) -> list[str]:
    """Each class name as it may stand in a file name, all different."""
    names = [re.sub(r"[^\w-]+", "-", name).strip("-") for name in classes]
    folded = [name.casefold() for name in names]
    return [
        name if name and folded.count(name.casefold()) == 1 else f"{name or 'class'}-{index}"
        for index, name in enumerate(names)
    ]
