"""`cfx info`: show versions, devices, engines and bundles, and what is not available and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..counterfactuals.registry import engine_names
from .options.choices import FORMATS, check_choice
from .options.types import Common, FormatOption, QuietOption, ThreadsOption, given_path
from .running import run_job


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """The options of `cfx info`."""

    directories: tuple[Path, ...]
    engine: str | None
    format: str


def info(
    directories: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR", help="Directories of your own bundles.", show_default=False, parser=given_path),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="NAME", help="Show one engine, with every setting that --set changes.")
    ] = None,
    format: FormatOption = "text",
    quiet: QuietOption = False,
    threads: ThreadsOption = 0,
) -> None:
    """Show engines, bundles and devices, and what is missing and why.

    Exit code 0: all files of the bundles are intact; 1: a file is missing or its checksum is wrong.
    """
    check_choice("format", format, FORMATS)
    if engine is not None:
        check_choice("engine", engine, engine_names())
    options = InfoOptions(directories=tuple(directories or ()), engine=engine, format=format)
    run_job("info_job", options, Common(quiet=quiet, threads=threads))
