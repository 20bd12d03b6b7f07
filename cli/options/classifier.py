"""The options that describe a classifier, for `cfx init` and for `cfx explain` without a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .choices import numbers, sides
from .types import given_path

PANEL = "The classifier"
KINDS = ".pt2, TorchScript, .onnx, module:factory, torchvision:NAME, timm:NAME or hf:NAME"

WeightsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Weights of a module:factory or library model.", parser=given_path, rich_help_panel=PANEL
    ),
]
ClassesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|imagenet",
        help="Class names in the order of the logits: a file with one per line, or those of ImageNet.",
        parser=given_path,
        rich_help_panel=PANEL,
    ),
]
ChannelsOption = Annotated[
    int | None,
    typer.Option(metavar="1|3", help="Channels of the classifier's input.", rich_help_panel=PANEL),
]
InputSizeOption = Annotated[
    str | None, typer.Option(metavar="HxW", help="Size of the classifier's input.", rich_help_panel=PANEL)
]
MeanOption = Annotated[
    str | None,
    typer.Option(metavar="M[,M,M]", help="Mean that normalises the classifier's input.", rich_help_panel=PANEL),
]
StdOption = Annotated[
    str | None,
    typer.Option(metavar="S[,S,S]", help="Standard deviation that normalises the input.", rich_help_panel=PANEL),
]
ScaleOption = Annotated[
    float | None,
    typer.Option(metavar="1|255", help="Input value that means white: 1 or 255.", rich_help_panel=PANEL),
]
OrderOption = Annotated[
    str | None, typer.Option(metavar="rgb|bgr", help="Order of the colour channels.", rich_help_panel=PANEL)
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="What the output is: logits, probabilities, log-probabilities, sigmoid, binary-logit, multi-label or "
        "multi-label-logits.",
        rich_help_panel=PANEL,
    ),
]
OutputIndexOption = Annotated[
    str | None,
    typer.Option(metavar="N|NAME", help="Which of several outputs is the answer.", rich_help_panel=PANEL),
]
LabelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|N",
        help="Label of a multi-label classifier that is meant: with it, and without it.",
        rich_help_panel=PANEL,
    ),
]
AmongMineOption = Annotated[
    bool,
    typer.Option(
        "--among-mine",
        help="Take probabilities among the classes of the labelled images only.",
        rich_help_panel=PANEL,
    ),
]
SizeOption = Annotated[
    str | None,
    typer.Option(metavar="HxW", help="Size to resize the images to on reading.", rich_help_panel=PANEL),
]
FitOption = Annotated[
    str | None,
    typer.Option(metavar="pad|crop|stretch", help="How to resize images of other proportions.", rich_help_panel=PANEL),
]
FlipOption = Annotated[
    bool,
    typer.Option("--flip", help="Left and right do not matter: mirrored images are as good.", rich_help_panel=PANEL),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        envvar="CFX_DATA",
        help="Directory of torchvision's data sets.",
        parser=given_path,
        rich_help_panel=PANEL,
    ),
]


def preprocessing_of(
    *,
    channels: int | None,
    input_size: str | None,
    mean: str | None,
    std: str | None,
    scale: float | None,
    order: str | None,
    output: str | None,
    output_index: str | None,
) -> dict[str, object]:
    """The fields of `Preprocessing` that the options set.

    Raises:
        UsageError: a size or a list of numbers has another form.
    """
    index = int(output_index) if output_index is not None and output_index.isdecimal() else output_index
    fields = {
        "channels": channels,
        "size": None if input_size is None else sides("--input-size", input_size),
        "mean": None if mean is None else numbers("--mean", mean),
        "std": None if std is None else numbers("--std", std),
        "scale": scale,
        "order": order,
        "output": output,
        "output_index": index,
    }
    return {name: value for name, value in fields.items() if value is not None}
