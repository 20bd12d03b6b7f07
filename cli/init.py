"""`cfx init`: check your classifier and images, and create a bundle to train from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..intake.init_options import InitOptions
from .options import classifier as own
from .options.choices import FORMATS, check_choice, sides, window
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
            help=f"Classifier to explain: {own.KINDS}; without this option, cfx train trains one.",
            show_default=False,
            rich_help_panel=own.PANEL,
        ),
    ] = None,
    weights: own.WeightsOption = None,
    classes: own.ClassesOption = None,
    data: own.DataOption = None,
    channels: own.ChannelsOption = None,
    input_size: own.InputSizeOption = None,
    mean: own.MeanOption = None,
    std: own.StdOption = None,
    scale: own.ScaleOption = None,
    order: own.OrderOption = None,
    output: own.OutputOption = None,
    output_index: own.OutputIndexOption = None,
    label: own.LabelOption = None,
    among_mine: own.AmongMineOption = False,
    size: own.SizeOption = None,
    fit: own.FitOption = None,
    working: Annotated[
        int | None,
        typer.Option(metavar="N", help="Longer side, in pixels, that models work at  [default: 64 for large images]"),
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
    flip: own.FlipOption = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace a bundle in DIR; trained parts that are still right are kept."),
    ] = False,
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
    preprocessing = own.preprocessing_of(
        channels=channels,
        input_size=input_size,
        mean=mean,
        std=std,
        scale=scale,
        order=order,
        output=output,
        output_index=output_index,
    )
    options = InitCommandOptions(
        bundle=bundle,
        settings=InitOptions(
            images=images,
            classifier=classifier,
            weights=weights,
            classes=classes,
            root=data,
            preprocessing=preprocessing,
            label=label,
            among=among_mine,
            size=None if size is None else sides("--size", size),
            working=working,
            resize=fit,
            flip=flip,
            group=group,
            window=window(black, white),
            overwrite=overwrite,
            skip_unreadable=skip_unreadable,
        ),
        format=format,
    )
    run_job("init_job", options, Common(quiet=quiet, threads=threads))
