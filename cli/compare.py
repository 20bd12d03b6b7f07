"""`cfx compare`: runs of `cfx bench` side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .options.choices import TABLE_FORMATS, check_choice
from .options.types import RunsArgument, TableFormatOption
from .running import run_job


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What was asked for."""

    runs: tuple[Path, ...]
    format: str


def compare(runs: RunsArgument, format: TableFormatOption = "table") -> None:
    """Show finished runs side by side; nothing is searched again.

    Where the runs ask the same questions, distances and the like are over the pairs that all engines of all runs
    solved, and with two runs the change from the first to the second is shown with its paired interval.
    """
    check_choice("format", format, TABLE_FORMATS)
    run_job("compare_job", CompareOptions(runs=tuple(runs), format=format))
