"""Keeps what fails on one image from costing the others of its batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..counterfactuals.problem import ModelError

T = TypeVar("T")


def bisected(rows: Sequence[int], work: Callable[[Sequence[int]], T]) -> Iterator[tuple[Sequence[int], T | ModelError]]:
    """Do work on rows of a batch together; where a model or an engine fails, on each half, down to single rows.

    Args:
        rows: indices into the batch.
        work: done on some of them.

    Yields:
        Rows, in their order, and the result of the work on them; or one row, and the error that it raises.
    """
    try:
        done: T | ModelError = work(rows)
    except ModelError as error:
        done = error
    if not isinstance(done, ModelError) or len(rows) == 1:
        yield rows, done
        return
    middle = len(rows) // 2
    yield from bisected(rows[:middle], work)
    yield from bisected(rows[middle:], work)
