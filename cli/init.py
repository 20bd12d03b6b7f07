"""`cfx init`: a classifier and images of one's own, looked at, checked, and written down as a bundle to train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .options.choices import FORMATS, check_choice, numbers, sides
from .options.types import FormatOption
from .running import run_job


@dataclass(frozen=True, kw_only=True)
class InitCommandOptions:
    """What was asked for; the options of `cfx init`, where each is described.

    Attributes:
        preprocessing: what was said of the classifier's input and output, by field.
    """

    bundle: Path
    images: str
    classifier: str | None
    weights: Path | None
    classes: Path | None
    data: Path | None
    preprocessing: Mapping[str, object]
    size: tuple[int, int] | None
    working: int | None
    resize: str | None
    flip: bool
    format: str


def init(
    bundle: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the bundle, to be made.")],
    images: Annotated[
        str,
        typer.Option(
            metavar="DIR|CSV|NAME", help="Folder per class, CSV (path, label), a torchvision set, or hf:NAME."
        ),
    ],
    classifier: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|CODE|NAME",
            help=".pt2, TorchScript, .onnx, module:factory, torchvision:NAME, timm:NAME, hf:NAME; "
            "without it, cfx train trains one.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Safetensors or state dict, for a classifier that is code.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Class names, one a line, in the order of the logits.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", envvar="CFX_DATA", help="Where torchvision's data sets lie.")
    ] = None,
    channels: Annotated[int | None, typer.Option(metavar="1|3", help="Of the classifier's input.")] = None,
    input_size: Annotated[str | None, typer.Option(metavar="HxW", help="Of the classifier's input.")] = None,
    mean: Annotated[str | None, typer.Option(metavar="M[,M,M]", help="The classifier's normalisation.")] = None,
    std: Annotated[str | None, typer.Option(metavar="S[,S,S]", help="The classifier's normalisation.")] = None,
    scale: Annotated[float | None, typer.Option(metavar="1|255", help="What white is to the classifier.")] = None,
    order: Annotated[str | None, typer.Option(metavar="rgb|bgr", help="Of the classifier's channels.")] = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="logits, probabilities, log-probabilities, sigmoid or binary-logit."),
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="To read images in, if not their own.")] = None,
    working: Annotated[
        int | None, typer.Option(metavar="N", help="Longer side, in pixels, that models work in; 64 for large images.")
    ] = None,
    fit: Annotated[
        str | None, typer.Option(metavar="pad|crop|stretch", help="How images of other proportions are made to fit.")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Left and right do not matter: also train on mirrored.")] = False,
    format: FormatOption = "text",
) -> None:
    """Check that a classifier and images fit together, and begin a bundle with them.

    Everything about the input is taken from the classifier's source, or found by trying which normalisation is right
    most often on labelled images; options overrule it. Next: cfx train DIR.

    Exit code 0; 1 where something looks wrong (see the warnings); 2 where it cannot work.
    """
    check_choice("format", format, FORMATS)
    preprocessing = {
        "channels": channels,
        "size": None if input_size is None else sides("--input-size", input_size),
        "mean": None if mean is None else numbers("--mean", mean),
        "std": None if std is None else numbers("--std", std),
        "scale": scale,
        "order": order,
        "output": output,
    }
    options = InitCommandOptions(
        bundle=bundle,
        images=images,
        classifier=classifier,
        weights=weights,
        classes=classes,
        data=data,
        preprocessing={name: value for name, value in preprocessing.items() if value is not None},
        size=None if size is None else sides("--size", size),
        working=working,
        resize=fit,
        flip=flip,
        format=format,
    )
    run_job("init_job", options)
