"""`cfx train`: train the parts of a bundle, one after another; an interrupted training can be resumed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .options.choices import DEVICES, check_choice, seconds
from .options.types import Common, DeviceOption, QuietOption, ThreadsOption, given_path
from .running import run_job


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of `cfx train`, parsed. `train` describes each; `seconds` is the budget, or the time of `more`."""

    bundle: Path
    seconds: float | None
    more: bool
    only: tuple[str, ...]
    recipe: str | None
    data: Path
    joint: bool
    device: str


def train(
    bundle: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Directory of the bundle from cfx init; with --recipe, a new one.", parser=given_path
        ),
    ],
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Wall-clock time for the whole training, such as 20m or 2h.")
    ] = None,
    more: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Go on training weak and useless parts, from their weights, for this time."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help="Retrain this part, and the parts that store its outputs; repeatable."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME", help="Train a shipped bundle from scratch: mnist or fashion-mnist.")
    ] = None,
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            envvar="CFX_DATA",
            help="Directory of torchvision's data sets, for --recipe.",
            parser=given_path,
        ),
    ] = Path("data"),
    joint: Annotated[
        bool, typer.Option("--joint", help="With --recipe: train classifier and conditional VAE jointly, in one loss.")
    ] = False,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
    threads: ThreadsOption = 0,
) -> None:
    """Train the generators and judges of a bundle.

    Each part gets a verdict, good, weak or useless, from images that it was not trained on; nothing is measured with a
    useless one. DIR/contact-sheet.png shows images from the generators. If the bundle has no classifier (cfx init
    without --classifier), one is trained, too. At the end every engine answers up to 50 held-out questions; the best
    becomes the bundle's engine.

    With --budget, fits follow the clock and are cut short if the time is not enough; judges come first.

    If training is interrupted, the same command resumes it: finished parts are kept, and the current part continues
    from its checkpoint. With --only, the named parts that were finished are trained again.

    Exit code 0: the bundle is ready; 1: a part is useless; 2: wrong usage or unusable input.
    """
    if budget is not None and more is not None:
        raise UsageError("--budget and --more: give one of them; --more TIME is the time to go on for")
    if joint and recipe is None:
        raise UsageError("--joint: trains a recipe's own classifier; give --recipe")
    check_choice("device", device, DEVICES)
    options = TrainOptions(
        bundle=bundle,
        seconds=seconds("--more", more) if more else None if budget is None else seconds("--budget", budget),
        more=more is not None,
        only=tuple(only or ()),
        recipe=recipe,
        data=data,
        joint=joint,
        device=device,
    )
    run_job("train_job", options, Common(quiet=quiet, threads=threads))
