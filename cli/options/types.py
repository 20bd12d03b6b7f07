"""The types of options and arguments that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...errors import UsageError
from ...files import expanded


def given_path(text: str) -> Path:
    """Parse a path. An empty one, as an unset variable of a script gives, would mean the working directory.

    Raises:
        UsageError: the text is empty, or begins with `~` and there is no home directory.
    """
    if not text:
        raise UsageError("'': an empty path; name a file or a directory ('.' is the working directory)")
    return expanded(text)


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
    list[Path],
    typer.Argument(metavar="RUNS", help="Directories of finished runs.", show_default=False, parser=given_path),
]
WhiteOption = Annotated[
    float | None,
    typer.Option(metavar="N", help="Value that means white in images of more than 8 bits  [default: found out]"),
]
BlackOption = Annotated[float | None, typer.Option(metavar="N", help="Value that means black, with --white.")]
RecursiveOption = Annotated[
    bool, typer.Option("--recursive", "-r", help="Also take the images of folders below a directory.")
]
RegionOption = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,W,H",
        help="Change only this region, in pixels of the image (bench: at the model's size): left, top, width, height.",
        show_default=False,
    ),
]
StyleOption = Annotated[
    str,
    typer.Option(
        metavar="minimal|human",
        help="minimal: the smallest change that is valid; human: go on until the answer is typical of the target.",
    ),
]
StrokesOption = Annotated[
    bool,
    typer.Option(
        "--strokes",
        help="Also measure how area, thickness, slant and other measures of thin strokes change (extra segments).",
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only results, warnings and errors: no progress and no notes.")
]
ThreadsOption = Annotated[
    int, typer.Option(metavar="N", min=0, help="Number of CPU threads; 0: torch's default.", show_default=False)
]


@dataclass(frozen=True, kw_only=True)
class Common:
    """The options that all commands have.

    Attributes:
        quiet: print neither progress nor notes.
        threads: number of CPU threads; 0 for torch's default.
    """

    quiet: bool = False
    threads: int = 0
