"""How long the whole training of a bundle would take on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import torch
import torch.nn.functional as F

from ..bundles.file import BundleFile
from ..judges.residual import ResidualNet
from .fit import descend
from .parts import parts_of, wanted_by
from .parts.judge import JudgePart
from .recipe import Recipe, recipe_for

OF_A_CLASSIFIER = ("classifier", "retrained")  # parts that are not made if the user brings the classifier
TIMED = 4  # steps, of which the first is not counted


def seconds_for(file: BundleFile, images: int) -> float:
    """About how long the whole training of a user's bundle takes on this machine.

    Args:
        file: bundle.toml, before the training.
        images: the number of training images of the generative models.
    """
    shape = (file.shape[0], *(file.working or file.shape[1:]))
    recipe = recipe_for(file.name, file.classes, shape, images)
    present = range(len(file.classes)) if file.present is None else file.present
    left_out = OF_A_CLASSIFIER if "classifier" in file.parts else ()
    weight = sum(
        sum(part.fits(present).values())
        for part in parts_of(recipe)
        if {*part.makes} <= {*wanted_by(file)} and not {*part.makes} & {*left_out}
    )
    return weight * seconds_per_weight(recipe, shape, images)


def seconds_per_weight(recipe: Recipe, shape: Sequence[int], images: int) -> float:
    """About how long a fit whose share has a weight of 1 takes if it is not cut short, from a few steps of a judge.

    Args:
        recipe: with the lengths of the fits in steps.
        shape: (C, H, W) of the images.
        images: the number of training images.
    """
    part = JudgePart(**recipe.parts.get("judge", {}))
    (own,) = part.fits(()).values()
    taken: list[float] = []
    with torch.random.fork_rng(devices=[]):
        model = ResidualNet(**part.arguments(shape[0], len(recipe.classes)))
        optimizer = torch.optim.AdamW(model.parameters())
        batch = torch.rand(recipe.batch_size, *shape)
        labels = torch.zeros(recipe.batch_size, dtype=torch.int64)
        for _ in range(TIMED):
            began = time.perf_counter()
            descend(optimizer, F.cross_entropy(model(batch), labels))
            taken.append(time.perf_counter() - began)
    steps = recipe.length(part.epochs, part.steps, images) * images / recipe.batch_size
    return steps * median(taken[1:]) / own
