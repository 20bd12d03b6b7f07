"""`cfx.explain`: what the command `cfx explain` does, as a Python function that writes no files."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..bundles.bundle import Bundle, load_bundle, pick_device
from ..counterfactuals.registry import DEFAULT_ENGINE, load_engine
from ..errors import ImageError, InputError, unknown_name
from ..images.decoding import decode_picture
from ..images.reading import convert, scale_of
from ..images.scale import Scale
from ..metrics.catalogue import OF_IMAGES
from .answer import Answer
from .pipeline import AnswerOptions, answer_batch
from .question import QuestionBatch, Source, ask, target_class

Given = str | PathLike[str] | Image.Image | np.ndarray | Tensor
"""One image: a file, a Pillow image, or an array: (H, W), (H, W, C) or (C, H, W), integers to 255 or floats to 1."""

BATCH = 64  # number of images in a batch


def explain(
    images: Given | Iterable[Given],
    *,
    target: str | int = "auto",
    bundle: str | Path | Bundle = "mnist",
    engine: str | None = None,
    confidence: float = 0.9,
    metrics: Sequence[str] | None = None,
    device: str = "auto",
    seed: int = 0,
    on_unreadable: Literal["raise", "skip"] = "raise",
    black: float = 0.0,
    white: float | None = None,
) -> Iterator[Answer]:
    """Find what would make the classifier see something else in images.

    The iterator is lazy: images are read and searched in batches of `BATCH`, when their answers are asked for. A
    notebook displays an answer as its panel. `answer.panel()` returns the panel, and `answer.as_json()` the record.

    Args:
        images: one image or several. An array or tensor (N, C, H, W) is N images.
        target: target class, by name or index; "auto" uses each image's runner-up class.
        bundle: bundle to use: a name, a directory, or a loaded bundle.
        engine: name of the engine; None for the bundle's own, or else cfx's default.
        confidence: minimum probability of the target in a valid counterfactual.
        metrics: names of the metrics to compute (docs/metrics.md); None for all but LPIPS.
        device: "auto", "cpu", "cuda" or "mps"; a loaded bundle stays on its device.
        seed: seed of the engine's random numbers.
        on_unreadable: "raise" an error for an image that cannot be read, or "skip" it with a warning.
        black, white: values that mean black and white in files with more than 8 bits per channel. If `white` is None,
            the bundle's own are used, or they are decided for all images together if these are a list or tuple of
            files, else for each by itself (docs/images.md).

    Yields:
        One answer per image, valid or not, in the order of the images. An image in which the classifier already sees
        the target is skipped with a warning.

    Raises:
        InputError: an image cannot be read.
        UsageError: the class, engine, metric, bundle or device is unknown.
        BundleError: the bundle is damaged, or lacks a part that the engine needs.
    """
    if on_unreadable not in ("raise", "skip"):
        raise unknown_name("choice of on_unreadable", on_unreadable, ("raise", "skip"))
    options = AnswerOptions(seed=seed, metrics=known_metrics(metrics))
    loaded = bundle if isinstance(bundle, Bundle) else load_bundle(str(bundle), pick_device(device))
    name = engine or loaded.engine or DEFAULT_ENGINE
    searching = load_engine(name).from_models(loaded.models, confidence=confidence)
    wanted = target_class(str(target), loaded)
    scale = Scale(black, white, clips=True) if white is not None else loaded.scale
    if scale is None and isinstance(images, list | tuple):
        scale, _ = scale_of([Path(fspath(each)) for each in images if isinstance(each, str | PathLike)])
    reading = read_all(images, loaded, scale, skip=on_unreadable == "skip")

    def answers() -> Iterator[Answer]:
        while images_read := list(islice(reading, BATCH)):
            sources, pixels = zip(*images_read, strict=True)
            batch = open_questions(ask(loaded, torch.stack(pixels).to(loaded.device), sources, wanted))
            if len(batch):
                yield from answer_batch(loaded, name, searching, batch, options)

    return answers()


def open_questions(batch: QuestionBatch) -> QuestionBatch:
    """Only the questions whose target the classifier does not see in the factual; warn about the others."""
    for question in batch.questions:
        if question.is_already_met:
            warnings.warn(f"{question.source.name}: the model already sees {question.factual}; skipped", stacklevel=3)
    return batch.only([row for row, question in enumerate(batch.questions) if not question.is_already_met])


def known_metrics(names: Sequence[str] | None) -> frozenset[str] | None:
    """The names as a set.

    Raises:
        UsageError: a name is not a metric of single images.
    """
    if names is None:
        return None
    for name in names:
        if name not in OF_IMAGES:
            raise unknown_name("metric", name, OF_IMAGES)
    return frozenset(names)


def read_all(
    images: Given | Iterable[Given], bundle: Bundle, scale: Scale | None, *, skip: bool
) -> Iterator[tuple[Source, Tensor]]:
    """Read images one by one, with their sources. An image that cannot be read raises, or is skipped with a warning."""
    for place, image in enumerate(_each(images)):
        try:
            yield read_any(image, bundle, f"image {place}", scale)
        except InputError as error:
            if not skip:
                raise
            warnings.warn(f"{error}; skipped", stacklevel=3)


def _each(images: Given | Iterable[Given]) -> Iterable[Given]:
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
    options = {"light_on_dark": bundle.light_on_dark, "resize": bundle.resize}
    if isinstance(image, Image.Image):
        name = getattr(image, "filename", "") or name
        read = convert(decode_picture(image, name, scale), bundle.shape, **options)
        return Source(name=name, notes=read.notes), read.pixels
    values = (torch.tensor(image) if isinstance(image, np.ndarray) else image).detach().cpu()
    if values.is_floating_point() and values.shape == bundle.shape:  # already in the classifier's format
        if not (float(values.min()) >= 0 and float(values.max()) <= 1):
            raise ImageError(
                f"{name}: its values range from {float(values.min()):g} to {float(values.max()):g}; "
                "expected floats in [0, 1]"
            )
        return Source(name=name), values.float()
    read = convert(decode_picture(_picture(values, name), name), bundle.shape, **options)
    return Source(name=name, notes=read.notes), read.pixels


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
