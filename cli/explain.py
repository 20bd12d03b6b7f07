"""`cfx explain`: find what would have to change in images for the model to see something else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..counterfactuals.registry import DEFAULT_ENGINE
from .options.choices import (
    DEVICES,
    FORMATS,
    check_bundle,
    check_choice,
    check_confidence,
    check_output,
    chosen_engines,
    window,
)
from .options.types import (
    BlackOption,
    BundleOption,
    Common,
    ConfidenceOption,
    DeviceOption,
    LinesFormatOption,
    QuietOption,
    RecursiveOption,
    ThreadsOption,
    WhiteOption,
    given_path,
)
from .running import run_job


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """The options of `cfx explain`, parsed. `explain` describes each.

    Attributes:
        engines: names of the engines; empty for the bundle's own.
        every_engine: "all" was asked for, so engines that cannot be used are left out.
    """

    images: tuple[str, ...]
    target: str
    engines: tuple[str, ...]
    every_engine: bool
    bundle: str
    confidence: float
    out: Path
    format: str
    seed: int
    device: str
    path: bool
    batch_size: int
    invert: bool
    window: tuple[float, float] | None
    recursive: bool
    lpips: bool
    html: bool


def explain(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGES", help="Image files, directories or globs; - reads an image from stdin."),
    ],
    target: Annotated[
        str, typer.Option(metavar="CLASS|auto", help="Target class, by name or index; auto: the runner-up class.")
    ] = "auto",
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|all",
            help=f"Engine, or several separated by commas.  [default: the bundle's own, else {DEFAULT_ENGINE}]",
            show_default=False,
        ),
    ] = None,
    bundle: BundleOption = "mnist",
    confidence: ConfidenceOption = 0.9,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory to write to.", parser=given_path)] = Path(
        "cfx-out"
    ),
    format: LinesFormatOption = "text",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the random number generator.")] = 0,
    device: DeviceOption = "auto",
    path: Annotated[bool, typer.Option("--path", help="Also write the path as a strip and a GIF.")] = False,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Number of images in a batch.")] = 256,
    invert: Annotated[bool, typer.Option("--invert", help="Invert the images, if they are dark on light.")] = False,
    white: WhiteOption = None,
    black: BlackOption = None,
    recursive: RecursiveOption = False,
    lpips: Annotated[bool, typer.Option("--lpips", help="Also compute LPIPS; it takes seconds to load.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Also write a page with all answers, DIR/index.html.")] = False,
    quiet: QuietOption = False,
    threads: ThreadsOption = 0,
) -> None:
    """Find what would make the model see something else in images.

    For each image and engine, cfx writes to DIR: the counterfactual (STEM.ENGINE.TARGET.png), a panel that shows what
    changed (.panel.png), and a record of everything that was measured (.json).

    Exit code 0: every counterfactual is valid; 1: some are not; 2: wrong usage or an unreadable image.
    """
    check_choice("format", format, FORMATS)
    check_choice("device", device, DEVICES)
    check_bundle(bundle)
    check_confidence(confidence)
    check_output("--out", out, directory=True)
    names, every_engine = ([], False) if engine is None else chosen_engines(engine)
    options = ExplainOptions(
        images=tuple(images),
        target=target,
        engines=tuple(names),
        every_engine=every_engine,
        bundle=bundle,
        confidence=confidence,
        out=out,
        format=format,
        seed=seed,
        device=device,
        path=path,
        batch_size=batch_size,
        invert=invert,
        window=window(black, white),
        recursive=recursive,
        lpips=lpips,
        html=html,
    )
    run_job("explain_job", options, Common(quiet=quiet, threads=threads))
