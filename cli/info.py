"""`cfx info`: show versions, devices, engines and bundles, and what is not available and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .options.choices import FORMATS, check_choice
from .options.types import FormatOption
from .running import run_job


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """The options of `cfx info`."""

    directories: tuple[Path, ...]
    format: str


def info(
    directories: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Directories of your own bundles.", show_default=False),
    ] = None,
    format: FormatOption = "text",
) -> None:
    """Show engines, bundles and devices, and what is missing and why.

    Exit code 0: all files of the bundles are intact; 1: a file is missing or its checksum is wrong.
    """
    check_choice("format", format, FORMATS)
    run_job("info_job", InfoOptions(directories=tuple(directories or ()), format=format))
