"""Says what is wrong with the IDX files of MNIST and the data sets in its format (yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

from math import prod
from pathlib import Path

from ..faults import HEAD, what_it_is

KINDS = (("images", 3), ("labels", 1))
"""What the files hold, and the number of their dimensions."""


def idx_names(prefix: str = "", test: str = "t10k") -> list[str]:
    """The names of the four files of a data set."""
    return [f"{prefix}{split}-{kind}-idx{count}-ubyte" for split in ("train", test) for kind, count in KINDS]


def idx_fault(folder: Path, names: list[str]) -> str | None:
    """What is wrong with the first file that is missing or damaged, and what to do; None if all are in order."""
    for name in names:
        path = folder / name
        if not path.is_file():
            return _missing(folder, name)
        fault = _damaged(path)
        if fault is not None:
            return f"{path} {fault}"
    return None


def _missing(folder: Path, name: str) -> str:
    """What is there instead of a file: packed, or under the name that Kaggle gives it."""
    packed, dotted = folder / f"{name}.gz", name.replace("-idx", ".idx")
    if packed.is_file():
        return f"{packed} is not unpacked; run gunzip on it"
    for other in (folder / dotted, folder / name / name, folder / dotted / dotted, folder.parent / name):
        if other.is_file():
            return f"{other} has another name than torchvision expects; move it to {folder / name}"
    return f"{folder / name} is missing"


def _damaged(path: Path) -> str | None:
    """What is wrong with an IDX file; None if its size is the one that its header gives."""
    with open(path, "rb") as file:
        head = file.read(HEAD)
    size = path.stat().st_size
    if head[:3] != b"\0\0\x08" or len(head) < 4:
        other = what_it_is(head)
        return f"is {other}" if other is not None else "is not an IDX file; download it again"
    dimensions = [int.from_bytes(head[start : start + 4], "big") for start in range(4, 4 + 4 * head[3], 4)]
    expected = 4 + 4 * head[3] + prod(dimensions)
    if size < expected:
        return f"is cut off ({size:,} of {expected:,} bytes); download it again"
    return f"has {size - expected:,} bytes too many; download it again" if size > expected else None
