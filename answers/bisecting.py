"""Keeps what fails on one image from costing the others of its batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..counterfactuals.problem import ModelError

T = TypeVar("T")


def bisected(
    rows: Sequence[int], work: Callable[[Sequence[int]], T], *, to_the_end: bool = True
) -> Iterator[tuple[Sequence[int], T | ModelError]]:
    """Do work on rows of a batch together; where a model or an engine fails, on each half, down to single rows.

    Args:
        rows: indices into the batch.
        work: done on some of them.
        to_the_end: find the single rows on which it fails; else all rows have failed together.

    Yields:
        Rows, in their order, and the result of the work on them; or the row on which it fails, and the error.
    """
    try:
        done: T | ModelError = work(rows)
    except ModelError as error:
        done = error
    if not isinstance(done, ModelError) or len(rows) == 1 or not to_the_end:
        yield rows, done
        return
    middle = len(rows) // 2
    yield from bisected(rows[:middle], work)
    yield from bisected(rows[middle:], work)
