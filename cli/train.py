"""`cfx train`: make the models of a bundle, part by part; killed and started again, it goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError


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
    from ..training.budget import seconds_in

    seconds = None if budget is None else seconds_in(budget)
    if joint and recipe is None:
        raise UsageError("--joint: trains a recipe's own classifier; give --recipe")
    if recipe is not None:
        from ..training.recipe import find_recipe

        find_recipe(recipe)
    import torch

    from ..bundles.bundle import Bundle
    from ..memory import keep_freed_memory
    from ..training.opening import open_session, reopen_session
    from ..training.session import is_finished
    from .render import Screen, fitting_progress, print_bundle_parts

    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    screen = Screen()
    if not only and is_finished(bundle):
        made = Bundle(bundle)
        made.verify()
        screen.note(f"{bundle}: every part is made; --only PART makes one anew")
        print_bundle_parts(made)
        return
    with fitting_progress() as progress:
        if recipe is None:
            session = reopen_session(bundle, progress=progress, budget=seconds)
        else:
            session = open_session(recipe, data, bundle, progress=progress, joint=joint, budget=seconds)
        for note in session.notes:
            screen.note(note)
        made = session.make(only or ())
    print_bundle_parts(made)
