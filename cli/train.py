"""`cfx train`: make the models of a bundle, part by part; killed and started again, it goes on where it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .running import run_job


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What was asked for; the options of `cfx train`, where each is described."""

    bundle: Path
    budget: str | None
    only: tuple[str, ...]
    recipe: str | None
    data: Path
    joint: bool
    threads: int


def train(
    bundle: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the bundle, from cfx init or new.")],
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Wall-clock time for all of it, such as 20m or 2h.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="PART", help="Make this part anew, and those that hold its results; repeatable."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME", help="Remake a shipped bundle: mnist or fashion-mnist.")
    ] = None,
    data: Annotated[
        Path, typer.Option(metavar="DIR", envvar="CFX_DATA", help="Of a recipe: its data set in torchvision's layout.")
    ] = Path("data"),
    joint: Annotated[
        bool, typer.Option("--joint", help="Of a recipe: classifier and conditional VAE in one loss, as VCNet's paper.")
    ] = False,
    threads: Annotated[int, typer.Option(metavar="N", min=0, help="CPU threads; 0 leaves the choice to torch.")] = 0,
) -> None:
    """Fit generators and judges to a bundle's images and classifier.

    Each part ends with a verdict on images that it was not fitted to; DIR/contact-sheet.png shows what the generators
    draw. Without a classifier (cfx init without --classifier) one is trained, too.

    Resumable: every part that bundle.toml lists is done, the one in work continues from its checkpoint.
    """
    if joint and recipe is None:
        raise UsageError("--joint: trains a recipe's own classifier; give --recipe")
    options = TrainOptions(
        bundle=bundle, budget=budget, only=tuple(only or ()), recipe=recipe, data=data, joint=joint, threads=threads
    )
    run_job("train_job", options)
