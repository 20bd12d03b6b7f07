"""`cfx train`: make a bundle by a recipe, part by part; killed and started again, it goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Option(help="What to make: a recipe's name, such as mnist.")] = "mnist",
    data: Annotated[
        Path, typer.Option(envvar="CFX_DATA", help="Directory with the data set in torchvision's layout.")
    ] = Path("data"),
    out: Annotated[Path, typer.Option(help="Directory of the bundle.")] = Path("cfx-bundle"),
    only: Annotated[
        list[str] | None, typer.Option(help="Make this part anew, and no other; may be given more than once.")
    ] = None,
    joint: Annotated[
        bool, typer.Option(help="Train classifier and conditional VAE in one loss, as VCNet's paper does.")
    ] = False,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves the choice to torch.")] = 0,
) -> None:
    """Make a bundle from a data set: classifier, judge, generative models, reference features.

    Resumable: every part that bundle.toml lists is done, the one in work continues from its checkpoint.
    """
    import torch

    from ..bundles.recipe import open_workshop
    from ..data.memory import keep_freed_memory
    from .render import fitting_progress, print_bundle_parts

    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    with fitting_progress() as progress:
        bundle = open_workshop(recipe, data, out, progress=progress, joint=joint).make(only or ())
    print_bundle_parts(bundle)
