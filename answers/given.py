"""Reads the images and masks that a Python program gives to `cfx.explain`: files, Pillow images, arrays, batches."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from operator import index
from os import PathLike, fspath
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..bundles.bundle import Bundle
from ..errors import ImageError, InputError, UsageError
from ..images.decoding import decode_picture
from ..images.marks import light_values
from ..images.reading import convert, read_image
from ..images.scale import Scale
from ..images.sets.survey import GREY_MODES
from ..intake.standalone import first_photos
from .question import Source
from .region import Allowed

Given = str | PathLike[str] | Image.Image | np.ndarray | Tensor
"""One image: a file, a Pillow image, or an array: (H, W), (H, W, C) or (C, H, W), integers to 255 or floats to 1."""


def read_all(
    images: Given | Iterable[Given], bundle: Bundle, scale: Scale | None, *, skip: bool
) -> Iterator[tuple[Source, Tensor]]:
    """Read images one by one, with their sources. An image that cannot be read raises, or is skipped with a warning."""
    for place, image in enumerate(each_of(images)):
        try:
            yield read_any(image, bundle, f"image {place}", scale)
        except InputError as error:
            if not skip:
                raise
            warnings.warn(f"{error}; skipped", stacklevel=3)


def each_of(images: Given | Iterable[Given]) -> Iterable[Given]:
    if isinstance(images, str | PathLike | Image.Image):
        return [images]
    if isinstance(images, np.ndarray | Tensor):
        return [images] if images.ndim in (2, 3) else list(images)
    return images


def read_any(image: Given, bundle: Bundle, name: str, scale: Scale | None = None) -> tuple[Source, Tensor]:
    """Read one image of any type, and convert it to the bundle's shape.

    Args:
        image: see `Given`.
        bundle: gives the shape.
        name: name of the image if it has no file.
        scale: what black and white are in a picture with more than 8 bits per channel; None decides it by the picture.

    Raises:
        ImageError: the image cannot be read.
    """
    if isinstance(image, str | PathLike):
        path = Path(fspath(image))
        read = bundle.read(path, scale=scale)
        source = Source(name=str(path), photo=path, placement=read.placement, notes=read.notes, scale=scale)
        return source, read.pixels
    options = {"light_on_dark": bundle.light_on_dark, "resize": bundle.resize, "ground": bundle.ground}
    if isinstance(image, Image.Image):
        name = getattr(image, "filename", "") or name
        read = convert(decode_picture(image, name, scale), bundle.shape, **options)
        return Source(name=name, notes=read.notes), read.pixels
    values = _values(image)
    if values.is_floating_point() and values.shape == bundle.shape:  # already in the classifier's format
        if not (float(values.min()) >= 0 and float(values.max()) <= 1):
            raise ImageError(
                f"{name}: its values range from {float(values.min()):g} to {float(values.max()):g}; "
                "expected floats in [0, 1]"
            )
        return Source(name=name), values.float()
    read = convert(decode_picture(_picture(values, name), name), bundle.shape, **options)
    return Source(name=name, notes=read.notes), read.pixels


def size_of(image: Given) -> tuple[tuple[int, int], int]:
    """(H, W) of an image, and 1 if it is grey, else 3.

    Raises:
        ImageError: the image cannot be read.
    """
    if isinstance(image, str | PathLike):
        return first_photos([Path(fspath(image))])
    picture = image if isinstance(image, Image.Image) else _picture(_values(image), "image 0")
    return (picture.height, picture.width), 1 if picture.mode in GREY_MODES else 3


def pixels_of(image: Given, shape: tuple[int, int, int], resize: str) -> Tensor:
    """An image of any type in a shape (C, H, W), resized as one of `RESIZES`.

    Raises:
        ImageError: the image cannot be read.
    """
    if isinstance(image, str | PathLike):
        return read_image(Path(fspath(image)), shape, resize=resize).pixels
    picture = image if isinstance(image, Image.Image) else _picture(_values(image), "image 0")
    return convert(decode_picture(picture, "image 0"), shape, resize=resize).pixels


def _values(image: np.ndarray | Tensor) -> Tensor:
    return (torch.tensor(image) if isinstance(image, np.ndarray) else image).detach().cpu()


def _picture(values: Tensor, name: str) -> Image.Image:
    """Convert an array to a Pillow image with 8 bits per channel."""
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[2] not in (1, 3):
        values = values.permute(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise ImageError(f"{name}: has shape {tuple(values.shape)}; expected (H, W), (H, W, C) or (C, H, W)")
    limit = 1.0 if values.is_floating_point() else 255.0
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= limit):
        raise ImageError(f"{name}: its values range from {low:g} to {high:g}; expected 0 to {limit:g}")
    scaled = (values.float() * (255.0 / limit)).round().to(torch.uint8)
    return Image.fromarray(scaled.contiguous().numpy())


def allowed_of(region: Sequence[int] | None, mask: Given | None) -> Allowed | None:
    """Where images may change; None: everywhere.

    Raises:
        UsageError: the region is not four numbers, or the mask no picture.
    """
    if mask is not None:
        return Allowed(mask=Path(fspath(mask)) if isinstance(mask, str | PathLike) else as_picture(mask))
    if region is None:
        return None
    try:
        x, y, width, height = (index(value) for value in region)
    except (TypeError, ValueError) as error:
        raise UsageError(f"region {region!r}: expected x, y, width and height, four whole numbers") from error
    return Allowed(box=(x, y, width, height))


def as_picture(mask: Image.Image | np.ndarray | Tensor) -> Image.Image:
    """A mask as a picture: arrays (H, W), (1, H, W) or (H, W, 1) of booleans, integers or floats (`light_values`)."""
    if isinstance(mask, Image.Image):
        return mask
    values = np.asarray(mask.cpu() if isinstance(mask, Tensor) else mask)
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values[0] if values.shape[0] == 1 else values[:, :, 0]
    if values.ndim != 2:
        raise UsageError(f"mask: an array of shape {values.shape}; expected (height, width)")
    return Image.fromarray(light_values(values, "mask").astype(np.uint8) * 255)
