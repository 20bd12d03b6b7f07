"""`cfx explain`: find what would have to change in images for the model to see something else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..counterfactuals.registry import DEFAULT_ENGINE
from ..errors import UsageError, check_one_of
from ..intake.init_options import ClassifierOptions
from .explain_options import (
    ExplainOptions,
    OwnClassifier,
    check_question,
    option_of,
    refuse_description,
    within_of,
)
from .options import classifier as own
from .options.choices import (
    DEVICES,
    FORMATS,
    STYLES,
    check_bundle,
    check_choice,
    check_confidence,
    check_output,
    region_of,
    sides,
    window,
)
from .options.engines import SetOption, choose_engines
from .options.types import (
    BlackOption,
    Common,
    ConfidenceOption,
    DeviceOption,
    LinesFormatOption,
    QuietOption,
    RecursiveOption,
    RegionOption,
    StrokesOption,
    StyleOption,
    ThreadsOption,
    WhiteOption,
    given_path,
)
from .running import run_job

DEFAULT_BUNDLE = "mnist"
GOALS = ("target", "certain")


def explain(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGES",
            help="Image files, directories or globs; - reads an image from stdin.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            metavar="CLASS|auto|label",
            help="Target class, by name or index; several, separated by commas, for the nearest of them; auto: the "
            "runner-up class; label: the class that the image's folder names.",
        ),
    ] = "auto",
    other_than: Annotated[
        str | None,
        typer.Option(
            "--not", metavar="CLASS", help="Ask for any other class than this one: the nearest.", show_default=False
        ),
    ] = None,
    goal: Annotated[
        str,
        typer.Option(
            metavar="target|certain",
            help="target: be seen as the target class; certain: as any class, with the confidence of --confidence.",
        ),
    ] = "target",
    region: RegionOption = None,
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|auto",
            help="Change only where this picture, as large as the image, is light; auto: where it would change most.",
            show_default=False,
        ),
    ] = None,
    targets: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Images and their target classes: lines of image,target; instead of IMAGES and --target.",
            parser=given_path,
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|all",
            help=f"Engine, or several separated by commas.  [default: {DEFAULT_ENGINE}]",
            show_default=False,
        ),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help=f"Bundle to use: a shipped one by name, or a directory.  [default: {DEFAULT_BUNDLE}]",
            show_default=False,
        ),
    ] = None,
    settings: SetOption = None,
    within: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time that auto has for an image, such as 2s: then it searches no more.",
            show_default=False,
        ),
    ] = None,
    confidence: ConfidenceOption = 0.9,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory to write to.", parser=given_path)] = Path(
        "cfx-out"
    ),
    format: LinesFormatOption = "text",
    count: Annotated[
        int,
        typer.Option(
            metavar="K", min=1, help="Number of different answers to each question; files of the second one end in -2."
        ),
    ] = 1,
    style: StyleOption = "minimal",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the random number generator.")] = 0,
    device: DeviceOption = "auto",
    explain_regions: Annotated[
        bool, typer.Option("--explain-regions", help="Also find out which regions of the image suffice, as a picture.")
    ] = False,
    segments: Annotated[
        str | None,
        typer.Option(
            metavar="grid|slic|FILE",
            help="The regions of --explain-regions, which it implies: cells of a grid, superpixels (extra segments), "
            "or a picture of the image's size with a colour for each region  [default: grid]",
            show_default=False,
        ),
    ] = None,
    path: Annotated[bool, typer.Option("--path", help="Also write the path as a strip and a GIF.")] = False,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Number of images in a batch.")] = 256,
    invert: Annotated[bool, typer.Option("--invert", help="Invert the images, if they are dark on light.")] = False,
    white: WhiteOption = None,
    black: BlackOption = None,
    recursive: RecursiveOption = False,
    lpips: Annotated[bool, typer.Option("--lpips", help="Also compute LPIPS; it takes seconds to load.")] = False,
    strokes: StrokesOption = False,
    html: Annotated[bool, typer.Option("--html", help="Also write a page with all answers, DIR/index.html.")] = False,
    quiet: QuietOption = False,
    threads: ThreadsOption = 0,
    classifier: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|CODE|NAME",
            help=f"Classifier to explain without a bundle: {own.KINDS}; with --bundle, a classifier of the bundle.",
            show_default=False,
            rich_help_panel=own.PANEL,
        ),
    ] = None,
    labelled: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="DIR|CSV|NAME",
            help="Labelled images, a folder per class, on which its size, normalisation and classes are found out.",
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
    flip: own.FlipOption = False,
) -> None:
    """Find what would make the model see something else in images.

    For each image and engine, cfx writes to DIR: the counterfactual (STEM.ENGINE.TARGET.png), a panel that shows what
    changed (.panel.png), and a record of everything that was measured (.json).

    Exit code 0: every counterfactual is valid; 1: some are not; 2: wrong usage or an unreadable image.
    """
    check_choice("format", format, FORMATS)
    check_choice("goal", goal, GOALS)
    check_choice("style", style, STYLES)
    check_one_of(
        {
            "--target": target != "auto",
            "--not": other_than is not None,
            "--goal certain": goal == "certain",
            "--targets": targets is not None,
        }
    )
    check_question(images or (), targets, region, mask, segments)
    check_choice("device", device, DEVICES)
    check_confidence(confidence)
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
    about = {
        "--images": labelled,
        "--weights": weights,
        "--classes": classes,
        "--label": label,
        "--size": size,
        "--fit": fit,
        "--among-mine": among_mine or None,
        "--flip": flip or None,
        **dict.fromkeys(map(option_of, preprocessing), True),
    }
    standalone = None
    if classifier is None or bundle is not None:
        refuse_description(about, "add --classifier" if classifier is None else "leave out --bundle")
        check_bundle(bundle or DEFAULT_BUNDLE)
    else:
        standalone = OwnClassifier(
            spec=classifier,
            weights=weights,
            images=labelled,
            settings=ClassifierOptions(
                classes=classes,
                preprocessing=preprocessing,
                label=label,
                among=among_mine,
                size=None if size is None else sides("--size", size),
                resize=fit,
                window=window(black, white),
                root=data,
                flip=flip,
            ),
        )
        if among_mine and labelled is None:
            raise UsageError("--among-mine: needs --images DIR, whose classes are meant")
    check_output("--out", out, directory=True)
    options = ExplainOptions(
        images=tuple(images or ()),
        target=target,
        other_than=other_than,
        certain=goal == "certain",
        targets=targets,
        region=None if region is None else region_of("--region", region),
        mask=mask,
        engines=choose_engines(engine, [*(settings or ()), *within_of(within, engine)]),
        bundle=bundle or DEFAULT_BUNDLE,
        classifier=standalone,
        explained=classifier if bundle is not None else None,
        confidence=confidence,
        out=out,
        format=format,
        count=count,
        style=style,
        seed=seed,
        device=device,
        segments=segments or ("grid" if explain_regions else None),
        path=path,
        batch_size=batch_size,
        invert=invert,
        window=window(black, white),
        recursive=recursive,
        lpips=lpips,
        strokes=strokes,
        html=html,
    )
    run_job("explain_job", options, Common(quiet=quiet, threads=threads))
