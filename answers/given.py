"""Reads the images and masks that a Python program gives to `cfx.explain`: files, Pillow images, arrays, batches."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from math import isnan
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeGuard

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
from .arrays import is_array, shown, values_of
from .question import Source
from .region import Allowed

Given = str | PathLike[str] | Image.Image | np.ndarray | Tensor
"""One image: a file, a Pillow image, or an array: (H, W), (H, W, C) or (C, H, W), integers to 255 or floats to 1."""


Pair = tuple[Given, object] | Mapping[str, object]
"""What data sets and loaders give: an image or a batch and its label or labels, or a dict that contains both."""

IMAGE_KEYS = ("pixel_values", "image", "images", "img")  # of the dicts that data sets give


def read_all(
    images: Iterable[tuple[int, Given]], bundle: Bundle, scale: Scale | None, *, skip: bool
) -> Iterator[tuple[Source, Tensor]]:
    """Read numbered images, with their sources. An image that cannot be read raises, or is skipped with a warning."""
    for place, image in images:
        try:
            yield read_any(image, bundle, f"image {place}", scale)
        except InputError as error:
            if not skip:
                raise
            warnings.warn(f"{error}; skipped", stacklevel=3)


def each_of(images: object) -> Iterable[Given]:
    """Images one by one, of batches, too, and without the labels that data sets and loaders give with them.

    Raises:
        UsageError: these are no images.
    """
    if (
        is_array(images)
        and images.ndim == 1
        and not isinstance(images, Tensor)
        and np.asarray(images).dtype.kind in "UO"
    ):
        images = np.asarray(images).tolist()
    if isinstance(images, str | PathLike | Image.Image | Mapping) or is_array(images) or is_pair(images):
        found = of_item(images)
        if isinstance(found[0], Mapping) or (is_array(found[0]) and found[0].ndim not in (2, 3)):
            raise UsageError(f"images: is {shown(images)}; give (N, C, H, W), (H, W), (H, W, C) or (C, H, W)")
        return found
    if isinstance(images, bytes | bytearray | type | np.generic) or not (
        isinstance(images, Iterable) or hasattr(images, "__getitem__")
    ):
        raise UsageError(f"images: is {shown(images)}; give files, pictures or arrays, one or several")
    if isinstance(images, list | tuple):
        return [image for item in images for image in of_item(item)]
    return (image for item in items_of(images) for image in of_item(item))


def items_of(images: object) -> Iterator[object]:
    """What an iterable holds, or a data set with only a length and items."""
    if not hasattr(images, "__iter__") and isinstance(images, Sized):
        return (images[place] for place in range(len(images)))  # pyright: ignore[reportIndexIssue]
    return iter(images)  # pyright: ignore[reportCallIssue, reportArgumentType]


def of_item(item: object) -> list[Given]:
    """The images in one item of several; what is no image is returned as it is, and refused when it is read."""
    if is_pair(item):
        item = item[0]
    if isinstance(item, Mapping):
        item = next((item[key] for key in IMAGE_KEYS if key in item), item)
    return list(item) if is_array(item) and item.ndim == 4 else [item]  # pyright: ignore[reportReturnType]


def is_pair(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether a value is an image or a batch with its label or labels, as data sets and loaders give them."""
    if not isinstance(value, list | tuple) or len(value) < 2:
        return False
    first, *rest = value
    if isinstance(first, str | PathLike):
        return isinstance(value, tuple) and all(is_label(each, 1) and not isinstance(each, str) for each in rest)
    if is_array(first):
        return all(is_label(each, max(1, first.ndim - 2)) for each in rest)
    return isinstance(first, Image.Image) and all(is_label(each, 1) for each in rest)


def is_label(value: object, dimensions: int) -> bool:
    """Whether a value can be a label, or the labels of a batch: arrays have at most so many dimensions."""
    if is_array(value):
        return value.ndim <= dimensions
    if isinstance(value, list | tuple):
        return all(isinstance(each, str | bool | int | float | np.generic) for each in value)
    return value is None or isinstance(value, bool | int | float | np.generic | Mapping)


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
        name = str(getattr(image, "filename", "") or name)
        read = convert(decode_picture(image, name, scale), bundle.shape, **options)
        return Source(name=name, notes=read.notes), read.pixels
    values = _values(image, name)
    if values.is_floating_point() and values.shape == bundle.shape:  # already in the classifier's format
        check_range(values, name)
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
    picture = image if isinstance(image, Image.Image) else _picture(_values(image, "image 0"), "image 0")
    return (picture.height, picture.width), 1 if picture.mode in GREY_MODES else 3


def pixels_of(image: Given, shape: tuple[int, int, int], resize: str) -> Tensor:
    """An image of any type in a shape (C, H, W), resized as one of `RESIZES`.

    Raises:
        ImageError: the image cannot be read.
    """
    if isinstance(image, str | PathLike):
        return read_image(Path(fspath(image)), shape, resize=resize).pixels
    picture = image if isinstance(image, Image.Image) else _picture(_values(image, "image 0"), "image 0")
    return convert(decode_picture(picture, "image 0"), shape, resize=resize).pixels


def _values(image: object, name: str) -> Tensor:
    if not is_array(image):
        raise ImageError(f"{name}: is {shown(image)}; give a file, a picture or an array")
    return values_of(image, name)


def check_range(values: Tensor, name: str) -> None:
    """Raise an ImageError unless floats are in [0, 1], and integers in 0 to 255."""
    limit = 1 if values.is_floating_point() else 255
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= limit:
        return
    said = f"{name}: its values range from {low:g} to {high:g}; expected "
    if limit == 255:
        raise ImageError(f"{said}0 to 255: scale them to 8 bits")
    remedy = "give it as it was before Normalize, and mean and std as preprocessing" if low < 0 else "divide by white"
    if isnan(low) or isnan(high):
        remedy = "NaN is no colour"
    raise ImageError(f"{said}floats in [0, 1]: {remedy}")


def _picture(values: Tensor, name: str) -> Image.Image:
    """Convert an array to a Pillow image with 8 bits per channel."""
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[2] not in (1, 3):
        values = values.permute(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise ImageError(f"{name}: has shape {tuple(values.shape)}; expected (H, W), (H, W, C) or (C, H, W)")
    check_range(values, name)
    scaled = (values.float() * (255.0 if values.is_floating_point() else 1.0)).round().to(torch.uint8)
    return Image.fromarray(scaled.contiguous().numpy())


def allowed_of(region: Sequence[int] | None, mask: Given | None) -> Allowed | None:
    """Where images may change; None: everywhere.

    Raises:
        UsageError: the mask is no picture.
    """
    if mask is not None:
        return Allowed(mask=Path(fspath(mask)) if isinstance(mask, str | PathLike) else as_picture(mask))
    if region is None:
        return None
    x, y, width, height = region
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
