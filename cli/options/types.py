"""The types of options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BundleOption = Annotated[str, typer.Option(metavar="NAME|DIR", help="Models to explain and to search with.")]
ConfidenceOption = Annotated[
    float, typer.Option(metavar="P", help="Least probability of the target in a valid counterfactual.")
]
DeviceOption = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where models run.")]
FormatOption = Annotated[str, typer.Option(metavar="text|json", help="json: one object on stdout.")]
LinesFormatOption = Annotated[str, typer.Option(metavar="text|json", help="json: one object a line on stdout.")]
TableFormatOption = Annotated[
    str, typer.Option(metavar="table|json|csv|markdown", help="What is written to stdout at the end.")
]
RunsArgument = Annotated[
    list[Path], typer.Argument(metavar="RUNS", help="Directories of cfx bench.", show_default=False)
]
