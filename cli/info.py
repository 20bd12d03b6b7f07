"""`cfx info`: versions, devices, engines, bundles, and what is not available and why."""

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
    """What was asked for."""

    directories: tuple[Path, ...]
    format: str


def info(
    directories: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="Bundles of your own.", show_default=False)
    ] = None,
    format: FormatOption = "text",
) -> None:
    """Show engines, bundles, devices, and what is missing and why.

    Exit code 0; 1 where a bundle's files do not have the checksums that they should have.
    """
    check_choice("format", format, FORMATS)
    run_job("info_job", InfoOptions(directories=tuple(directories or ()), format=format))
