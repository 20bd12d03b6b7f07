"""`cfx explain`: what would have to change in these images for the model to see something else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..counterfactuals.registry import DEFAULT_ENGINE
from .job import Job
from .options import DEVICES, FORMATS, check_choice, chosen_engines
from .request import Request


def explain(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES", help="Files, directories, globs.", show_default=False)
    ],
    target: Annotated[
        str, typer.Option(metavar="CLASS|auto", help="Class name or index; auto: the runner-up class.")
    ] = "auto",
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|all",
            help=f"Engine, or several with commas between.  [default: the bundle's own, else {DEFAULT_ENGINE}]",
            show_default=False,
        ),
    ] = None,
    bundle: Annotated[str, typer.Option(metavar="NAME|DIR", help="Models to explain and to search with.")] = "mnist",
    confidence: Annotated[
        float, typer.Option(metavar="P", help="Least probability of the target in a valid counterfactual.")
    ] = 0.9,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where files are written.")] = Path("cfx-out"),
    format: Annotated[str, typer.Option(metavar="text|json", help="json: one object a line on stdout.")] = "text",
    seed: Annotated[int, typer.Option(metavar="N", help="Of whatever an engine draws at random.")] = 0,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where models run.")] = "auto",
    path: Annotated[bool, typer.Option("--path", help="Also write the way there: a strip and an animation.")] = False,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Images in memory at once.")] = 256,
    invert: Annotated[bool, typer.Option("--invert", help="The images are dark on light; invert them.")] = False,
    lpips: Annotated[bool, typer.Option("--lpips", help="Also compute LPIPS, which takes seconds to load.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Also write a page of all answers, DIR/index.html.")] = False,
) -> None:
    """Show what would make the model see something else.

    For each image and engine this writes, to DIR: the counterfactual (STEM.ENGINE.TARGET.png), a panel that
    shows what changed (.panel.png) and a record of everything measured (.json).

    Exit code 0: each image got a valid counterfactual; 1: some did not; 2: wrong usage or unreadable image.
    """
    request = Request(
        tuple(images), target, engine, bundle, confidence, out, format,
        seed, device, path, batch_size, invert, lpips, html,
    )  # fmt: skip
    # Wrong words are found out before torch is imported, which takes seconds.
    check_choice("format", format, FORMATS)
    check_choice("device", device, DEVICES)
    names = [] if engine is None else chosen_engines(engine)
    from .render import Screen

    raise typer.Exit(Job(request, names, Screen()).run())
