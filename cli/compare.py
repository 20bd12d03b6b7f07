"""`cfx compare`: show runs of `cfx bench` side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .options.choices import TABLE_FORMATS, check_choice
from .options.types import Common, QuietOption, RunsArgument, TableFormatOption, ThreadsOption
from .running import run_job


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """The options of `cfx compare`."""

    runs: tuple[Path, ...]
    against: str | None
    format: str


def compare(
    runs: RunsArgument,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="ENGINE",
            help="Also show how all other engines differ from this one, named as in the table.",
            show_default=False,
        ),
    ] = None,
    format: TableFormatOption = "table",
    quiet: QuietOption = False,
    threads: ThreadsOption = 0,
) -> None:
    """Compare finished runs of cfx bench. Nothing is searched again.

    If the runs ask the same questions, most metrics are averaged over the pairs that every engine of every run solved.
    With two runs, the change from the first to the second is shown too, with its paired 95 % interval; with --against,
    the differences from one engine.
    """
    check_choice("format", format, TABLE_FORMATS)
    if against is not None and format not in ("table", "json"):
        raise UsageError(f"--against {against}: is printed with --format table or json only")
    options = CompareOptions(runs=tuple(runs), against=against, format=format)
    run_job("compare_job", options, Common(quiet=quiet, threads=threads))
