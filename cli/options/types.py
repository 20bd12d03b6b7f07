"""The types of options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BundleOption = Annotated[
    str, typer.Option(metavar="NAME|DIR", help="Bundle to use: a shipped one by name, or a directory.")
]
ConfidenceOption = Annotated[
    float, typer.Option(metavar="P", help="Minimum probability of the target in a valid counterfactual.")
]
DeviceOption = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Device to run the models on.")]
FormatOption = Annotated[str, typer.Option(metavar="text|json", help="Output format; json: one object.")]
LinesFormatOption = Annotated[str, typer.Option(metavar="text|json", help="Output format; json: one object per line.")]
TableFormatOption = Annotated[
    str, typer.Option(metavar="table|json|csv|markdown", help="Format of the summary on stdout.")
]
RunsArgument = Annotated[
    list[Path], typer.Argument(metavar="RUNS", help="Directories of finished runs.", show_default=False)
]
