"""Images of a set that cannot be read: how many may be left out, and what is said about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...errors import DataError
from .split import SUBSETS, Split

# Photo collections from the web have a few broken files; a larger share means wrong paths or a bad disk.
SHARE_BROKEN = 0.01

NAMED = 3  # images that a sentence names; it counts the others
LISTED = 10  # sentences about single images; a last one counts the others


def too_many(broken: int, count: int) -> bool:
    """Whether more than 1 % of `count` images are broken; one alone is no pattern."""
    return broken > max(1, SHARE_BROKEN * count)


@dataclass(frozen=True)
class Missing:
    """Files that a table lists and that do not exist. They stay in the image set, so that its split does not change.

    Attributes:
        table: the file that lists them.
        listed: the number of files that it lists.
        lines: the line of each missing file in the table, by the index of the image.
        cells: their paths as the table has them.
        hint: what may be wrong with these paths; empty if nothing is known.
    """

    table: Path
    listed: int
    lines: dict[int, int]
    cells: tuple[str, ...]
    hint: str = ""

    def check(self, *, skip: bool) -> None:
        """Raise a DataError if all files are missing or, without `skip`, too many."""
        count = len(self.lines)
        if count < self.listed and (skip or not too_many(count, self.listed)):
            return
        rest = f" and {count - NAMED} more" if count > NAMED else ""
        skips = "" if count == self.listed else "; cfx init --skip-unreadable leaves out any number of them"
        hint = self.hint or f"paths are relative to {self.table.parent}"
        raise DataError(
            f"{self.table}: {count} of {self.listed} files listed there do not exist, such as "
            f"{', '.join(self._places(NAMED))}{rest}; {hint}: correct them{skips}"
        )

    def warning(self) -> str:
        """A sentence that counts the files and names the first."""
        number, do = (1, "does") if len(self.lines) == 1 else (len(self.lines), "do")
        hint = f"; {self.hint}" if self.hint else ""
        return (
            f"{number} of {self.listed} files listed in {self.table.name} {do} not exist and "
            f"{'is' if number == 1 else 'are'} left out, such as {self._places(1)[0]}{hint}"
        )

    def _places(self, most: int) -> list[str]:
        pairs = zip(self.cells[:most], self.lines.values(), strict=False)
        return [f"{cell} (line {line})" for cell, line in pairs]


def left_out(broken: Sequence[str], missing: Missing | None) -> list[str]:
    """A note for each image that could not be read, or for the first of very many; and one for all missing files."""
    rest = len(broken) - LISTED
    more = [f"left out: {rest} more images that cannot be read"] if rest > 0 else []
    of_table = [] if missing is None else [missing.warning()]
    return [*of_table, *(f"left out: {sentence}" for sentence in broken[:LISTED]), *more]


def first_of(broken: Sequence[str]) -> str:
    """The first of several sentences as one, and the number of the others."""
    rest = len(broken) - NAMED
    return "; ".join(broken[:NAMED]) + (f"; and {rest} more" if rest > 0 else "")


def lost_classes(labels: Tensor, split: Split[Tensor], unreadable: Collection[int]) -> list[int]:
    """The classes of a split that have no image in one of its subsets once the unreadable ones are left out.

    Args:
        labels: (N,) int64.
        split: indices of images.
        unreadable: indices of the images that are known to be unreadable.
    """
    if not unreadable:
        return []
    gone = torch.tensor([*unreadable])
    affected = set(labels[gone].tolist()) - set(split.too_few)
    subsets = [split.subset(name) for name in SUBSETS]
    left = [set(labels[subset[~torch.isin(subset, gone)]].tolist()) for subset in subsets]
    return sorted(label for label in affected if not all(label in subset for subset in left))
