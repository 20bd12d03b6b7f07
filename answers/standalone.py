"""Opens a classifier that a Python program gives to `cfx.explain` without a bundle."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from os import PathLike, fspath
from typing import Any

from torch import Tensor, nn

from ..bundles.bundle import Bundle
from ..classifiers.foreign.live import open_live
from ..classifiers.foreign.opening import open_classifier
from ..errors import UsageError
from ..intake.init_options import ClassifierOptions
from ..intake.standalone import open_with_images, open_with_photos
from .given import Given, pixels_of, size_of

Model = nn.Module | Callable[[Tensor], Any] | str
"""A module, another function from images to logits, or the name of one, as `open_classifier` takes it."""


def description_of(
    classes: Sequence[str] | None, preprocessing: Mapping[str, object] | None, window: tuple[float, float] | None
) -> ClassifierOptions:
    """What a program says about its classifier, as `explain` takes it."""
    fields = dict(preprocessing or {})
    label = fields.pop("label", None)
    return ClassifierOptions(
        classes=None if classes is None else tuple(classes),
        preprocessing={field: as_field(value) for field, value in fields.items()},
        label=None if label is None else str(label),
        window=window,
    )


def open_standalone(
    classifier: Model,
    images: Iterable[Given],
    donors: str | PathLike[str] | None,
    settings: ClassifierOptions,
    device: str,
) -> tuple[Bundle, Iterable[Given]]:
    """Open a classifier without a bundle, and warn about what looks wrong.

    Returns:
        The classifier as a bundle, and all images.
    """
    foreign = open_classifier(classifier) if isinstance(classifier, str) else open_live(classifier)
    if donors is not None:
        opened = open_with_images(foreign, fspath(donors), settings, device)
    else:
        first, images = peeked(images)
        if first is None:
            raise UsageError("images: there are none to explain")
        size, channels = size_of(first)
        opened = open_with_photos(foreign, lambda *how: pixels_of(first, *how)[None], size, channels, settings, device)
    for warning in opened.warnings:
        warnings.warn(f"{foreign.name}: {warning}", stacklevel=3)
    return opened.bundle, images


def peeked(images: Iterable[Given]) -> tuple[Given | None, Iterable[Given]]:
    """The first image, None if there are none, and all images: an iterator is read only once."""
    if isinstance(images, list | tuple):
        return (images[0] if images else None), images
    rest = iter(images)
    first = next(rest, None)
    return first, rest if first is None else chain([first], rest)


def as_field(value: object) -> object:
    """A list or a single float as a tuple, as `Preprocessing` takes mean, std and size."""
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, float) else value
