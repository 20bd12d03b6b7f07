"""Opening a training session: from the recipe of a shipped bundle, or from the images that a user's bundle names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from ..bundles import own_images
from ..bundles.bundle import Bundle
from ..errors import BundleError
from ..images.sets.image_set import ImageSet, Loaded
from ..images.sets.split import SUBSETS, Split, SubsetName
from ..images.sets.unreadable import left_out
from ..progress import SILENT, Progress
from .recipe import find_recipe, recipe_for
from .session import TrainingSession

PHOTOS_AT_ONCE = 64


def open_session(
    name: str,
    data: Path,
    directory: Path,
    *,
    progress: Progress = SILENT,
    joint: bool = False,
    budget: float | None = None,
    device: str = "cpu",
) -> TrainingSession:
    """Read the data set of one of `RECIPES` and open a session for it.

    Raises:
        UsageError: the recipe is unknown.
        DataError: the data set is not below `data`.
    """
    began = time.monotonic()
    recipe = find_recipe(name)
    images, split = recipe.open(data)
    survey = images.survey(count=1)
    shape = (survey.channels, *survey.size)
    command = f"cfx train DIR --recipe {name} --data DATA" + (" --joint" if joint else "")
    return TrainingSession(
        recipe,
        split.map(lambda _, indices: images.load(indices, shape).data),
        directory,
        command=command,
        progress=progress,
        joint=joint,
        budget=budget,
        began=began,
        device=device,
    )


def reopen_session(
    directory: Path, *, progress: Progress = SILENT, budget: float | None = None, device: str = "cpu"
) -> TrainingSession:
    """Read the images that a bundle made by `cfx init` names, and open a session for it.

    Raises:
        BundleError: it names none.
        DataError: they are missing or changed, do not fit in memory, or too many cannot be read.
    """
    began = time.monotonic()
    bundle = Bundle(directory)
    if bundle.is_foreign:
        _ = bundle.classifier  # loaded now, so that an error comes before the training and not after it
    own = own_images.images_of(bundle)
    if own is None:
        raise BundleError(
            f"bundle {directory}: names no images to train on; create it with `cfx init`, or give its --recipe"
        )
    images, split = own
    shape = (bundle.shape[0], *bundle.working)

    def load(name: SubsetName, indices: Tensor) -> Loaded:
        with progress.task(f"reading images ({name.replace('_', ' ')})", len(indices)) as task:
            return images.load(indices, shape, resize=bundle.resize, scale=bundle.scale, task=task)

    loaded = split.map(load)
    entry = bundle.file.images
    recipe = recipe_for(
        bundle.name,
        bundle.labels,
        shape,
        len(loaded.train.data),
        light_on_dark=bundle.light_on_dark,
        flip=entry is not None and entry.flip,
    )

    def photos(name: SubsetName, count: int) -> Iterator[Tensor]:
        for indices in loaded.subset(name).indices[:count].split(PHOTOS_AT_ONCE):
            yield images.load(indices, bundle.shape, resize=bundle.resize, scale=bundle.scale).data.floats()

    def file_name(name: SubsetName, place: int) -> str | None:
        path = images.pictures.path(int(loaded.subset(name).indices[place]))
        return None if path is None else path.name

    return TrainingSession(
        recipe,
        loaded.map(lambda _, subset: subset.data),
        directory,
        command="cfx train DIR",
        progress=progress,
        budget=budget,
        began=began,
        device=device,
        photos=photos if bundle.is_lowres else None,
        names=file_name,
        notes=tuple(notes_on(images, split, loaded)),
    )


def notes_on(images: ImageSet, split: Split[Tensor], loaded: Split[Loaded]) -> list[str]:
    """What the user should know about images that are not used."""
    notes = left_out([sentence for name in SUBSETS for sentence in loaded.subset(name).broken], images.missing)
    used = sum(len(split.subset(name)) for name in SUBSETS)
    too_few = int(images.counts()[list(split.too_few)].sum())
    if used + too_few < len(images):
        most = own_images.MOST_IMAGES
        notes.append(f"{used} of {len(images)} images are used, sampled at random: at most {most} in each subset")
    return notes
