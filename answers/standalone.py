"""Opens a classifier that a Python program gives to `cfx.explain` without a bundle."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..bundles.bundle import Bundle
from ..classifiers.foreign.live import open_live
from ..classifiers.foreign.opening import open_classifier
from ..errors import UsageError
from ..intake.examining import class_names
from ..intake.init_options import ClassifierOptions
from ..intake.standalone import open_with_images, open_with_photos
from .given import Given, pixels_of, size_of
from .parameters import naming

Model = nn.Module | Callable[[Tensor], Any] | str
"""A module, another function from images to logits, or the name of one, as `open_classifier` takes it."""


def description_of(
    classes: Path | tuple[str, ...] | None, preprocessing: Mapping[str, object], window: tuple[float, float] | None
) -> ClassifierOptions:
    """What a program says about its classifier, as `explain` takes it."""
    fields = dict(preprocessing)
    label = fields.pop("label", None)
    with naming("classes"):
        named = class_names(classes)
    return ClassifierOptions(
        classes=named,
        preprocessing={field: as_field(field, value) for field, value in fields.items()},
        label=None if label is None else str(label),
        window=window,
    )


def open_standalone(
    classifier: Model,
    first: Given | None,
    donors: str | None,
    settings: ClassifierOptions,
    device: str,
) -> Bundle:
    """Open a classifier as a bundle, by the first image or labelled ones, and warn about what looks wrong."""
    named = isinstance(classifier, str | PathLike)
    with naming("classifier"):
        foreign = open_classifier(fspath(classifier)) if named else open_live(classifier)
    if donors is not None:
        with naming("donors", donors):
            opened = open_with_images(foreign, donors, settings, device)
    else:
        if first is None:
            raise UsageError("images: there are none to explain")
        size, channels = size_of(first)
        with naming("images", "--working"):  # too small for any search
            opened = open_with_photos(
                foreign, lambda *how: pixels_of(first, *how)[None], size, channels, settings, device
            )
    for warning in opened.warnings:
        warnings.warn(f"{foreign.name}: {warning}", stacklevel=3)
    return opened.bundle


def peeked(images: Iterable[Given]) -> tuple[Given | None, Iterable[Given]]:
    """The first image, None if there are none, and all images: an iterator is read only once."""
    if isinstance(images, list | tuple):
        return (images[0] if images else None), images
    rest = iter(images)
    first = next(rest, None)
    return first, rest if first is None else chain([first], rest)


def as_field(name: str, value: object) -> object:
    """A single number as a tuple, as `Preprocessing` takes mean and std."""
    return (value,) if name in ("mean", "std") and isinstance(value, int | float) else value
