"""`cfx init`: check your classifier and images, and create a bundle to train from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..training.init_options import InitOptions
from .options.choices import FORMATS, check_choice, numbers, sides, window
from .options.types import BlackOption, Common, FormatOption, QuietOption, ThreadsOption, WhiteOption, given_path
from .running import run_job


@dataclass(frozen=True, kw_only=True)
class InitCommandOptions:
    """The options of `cfx init`, parsed: the new bundle's directory, what it is made from, and the output format."""

    bundle: Path
    settings: InitOptions
    format: str


def init(
    bundle: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the new bundle.", parser=given_path)],
    images: Annotated[
        str,
        typer.Option(
            metavar="DIR|CSV|NAME",
            help="Labelled images: a folder per class, a CSV (path,label), a torchvision data set, or hf:NAME.",
        ),
    ],
    classifier: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|CODE|NAME",
            help="Classifier to explain: .pt2, TorchScript, .onnx, module:factory, torchvision:NAME, timm:NAME or "
            "hf:NAME; without this option, cfx train trains one.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Weights of a module:factory or library model.", parser=given_path),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of class names, one per line, in the order of the logits.",
            parser=given_path,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", envvar="CFX_DATA", help="Directory of torchvision's data sets.", parser=given_path),
    ] = None,
    channels: Annotated[int | None, typer.Option(metavar="1|3", help="Channels of the classifier's input.")] = None,
    input_size: Annotated[str | None, typer.Option(metavar="HxW", help="Size of the classifier's input.")] = None,
    mean: Annotated[
        str | None, typer.Option(metavar="M[,M,M]", help="Mean that normalises the classifier's input.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="S[,S,S]", help="Standard deviation that normalises the input.")
    ] = None,
    scale: Annotated[
        float | None, typer.Option(metavar="1|255", help="Input value that means white: 1 or 255.")
    ] = None,
    order: Annotated[str | None, typer.Option(metavar="rgb|bgr", help="Order of the colour channels.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Output of the classifier: logits, probabilities, log-probabilities, sigmoid or binary-logit.",
        ),
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Size to resize the images to on reading.")] = None,
    working: Annotated[
        int | None,
        typer.Option(metavar="N", help="Longer side, in pixels, that models work at  [default: 64 for large images]"),
    ] = None,
    fit: Annotated[
        str | None, typer.Option(metavar="pad|crop|stretch", help="How to resize images of other proportions.")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX", help="What in an image's path names its group, such as a person, to keep together."
        ),
    ] = None,
    white: WhiteOption = None,
    black: BlackOption = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be read, even if they are many.")
    ] = False,
    flip: Annotated[bool, typer.Option("--flip", help="Also train on mirrored images.")] = False,
    format: FormatOption = "text",
    quiet: QuietOption = False,
    threads: ThreadsOption = 0,
) -> None:
    """Check your classifier and images, and create a bundle from them.

    cfx reads the format of the classifier's input from its source, or tries which normalisation gives the highest
    accuracy on the labelled images. Options take precedence. Next step: cfx train DIR.

    Exit code 0: done; 1: done, but something looks wrong (see the warnings); 2: wrong usage or unusable input.
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
        settings=InitOptions(
            images=images,
            classifier=classifier,
            weights=weights,
            classes=classes,
            root=data,
            preprocessing={name: value for name, value in preprocessing.items() if value is not None},
            size=None if size is None else sides("--size", size),
            working=working,
            resize=fit,
            flip=flip,
            group=group,
            window=window(black, white),
            skip_unreadable=skip_unreadable,
        ),
        format=format,
    )
    run_job("init_job", options, Common(quiet=quiet, threads=threads))
