"""How a training run goes: its time, its reports and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ..progress import Task

REPORT_EVERY_S = 5.0  # seconds between two reports, if steps are slow


class Timer:
    """The time that a run has taken, over all restarts, and that of its evaluations on held-out images.

    Attributes:
        before: seconds before this start.
        spent: seconds until `read` was last called.
        of_a_check: seconds that the last evaluation took.
        checked_at: what `spent` was after it.
        checks: the largest number of evenly spaced evaluations that it stands for.
    """

    def __init__(self) -> None:
        self.before = self.spent = self.of_a_check = self.checked_at = 0.0
        self.checks = 0
        self._began = 0.0

    def start(self, clock: Callable[[], float]) -> None:
        self._began = clock() - self.before
        self.spent = self.before

    def read(self, clock: Callable[[], float]) -> None:
        self.spent = clock() - self._began

    def checked(self, clock: Callable[[], float], began: float, checks: int) -> None:
        """Note an evaluation that began at `began`."""
        self.read(clock)
        self.of_a_check, self.checked_at, self.checks = clock() - began, self.spent, checks


class Report:
    """Reports the progress of a run to a task: in steps, or in per cent of its time if that is limited."""

    def __init__(self, task: Task, done: int, total: int, now: float, *, in_percent: bool) -> None:
        self._task = task
        self._done = done
        self._total = total
        self._told = now
        self._in_percent = in_percent

    def is_due(self, now: float) -> bool:
        """Whether the last report is long ago."""
        return now - self._told > REPORT_EVERY_S

    def __call__(self, index: int, over: float, now: float, losses: Mapping[str, float]) -> None:
        done = int(100 * over) if self._in_percent else index
        self._task.advance(done - self._done, **losses)
        self._done, self._told = done, now

    def finish(self) -> None:
        """Report that nothing is left to do."""
        if self._done < self._total:
            self._task.advance(self._total - self._done)


def one_cycle(over: float, *, least: float, warm_up: float = 0.15) -> float:
    """Share of the peak learning rate: linear warm-up, then cosine decay to zero.

    Args:
        over: the share of the run that is over.
        least: what counts as over at the first step, so that it has a learning rate, too.
        warm_up: share of the run that warms up.
    """
    if over < warm_up:
        return max(over, least) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (over - warm_up) / (1 - warm_up)))
