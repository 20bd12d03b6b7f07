"""`cfx.explain`: what `cfx explain` does, from Python and without the files."""

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
from ..images.decoding import decode, decode_picture
from ..images.reading import convert
from ..metrics.catalogue import METRICS
from .answer import Answer
from .pipeline import AnswerOptions, answer_batch
from .question import QuestionBatch, Source, ask, target_class

Given = str | PathLike[str] | Image.Image | np.ndarray | Tensor
"""One image: a file, a picture, or an array of (H, W), (H, W, C) or (C, H, W); whole numbers to 255, or up to 1."""

BATCH = 64  # images in memory at once


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
) -> Iterator[Answer]:
    """What would make the classifier see something else in these images?

    Images are read, and answers searched, when they are asked for, `BATCH` at a time. In a notebook an answer shows
    itself; `answer.panel()` is the picture, `answer.as_json()` the record.

    Args:
        images: one image or several; of an array (N, C, H, W), or a tensor, each is one.
        target: the class asked for, by name or index; "auto" takes each image's runner-up class.
        bundle: models to explain and to search with: a name, a directory, or one that is loaded.
        engine: by name; the bundle's own, or cfx's default, if None.
        confidence: least probability of the target in a valid counterfactual.
        metrics: what is measured, by name (docs/metrics.md); all but LPIPS, if None.
        device: "auto", "cpu", "cuda" or "mps"; a loaded bundle stays where it is.
        seed: of whatever the engine draws at random.
        on_unreadable: what an image that cannot be read does: raise, or be skipped with a warning.

    Yields:
        An answer for each image, valid or not, in their order. An image in which the classifier sees the target anyway
        is skipped with a warning.

    Raises:
        InputError: an image cannot be read.
        UsageError: an unknown class, engine, metric, bundle or device.
        BundleError: the bundle is damaged, or lacks what the engine needs.
    """
    loaded = bundle if isinstance(bundle, Bundle) else load_bundle(str(bundle), pick_device(device))
    name = engine or loaded.engine or DEFAULT_ENGINE
    searching = load_engine(name).from_models(loaded.models, confidence=confidence)
    wanted = target_class(str(target), loaded)
    options = AnswerOptions(seed=seed, metrics=known_metrics(metrics))
    if on_unreadable not in ("raise", "skip"):
        raise unknown_name("choice of on_unreadable", on_unreadable, ("raise", "skip"))
    reading = read_all(images, loaded, skip=on_unreadable == "skip")

    def answers() -> Iterator[Answer]:
        while some := list(islice(reading, BATCH)):
            sources, pixels = zip(*some, strict=True)
            batch = unanswered(ask(loaded, torch.stack(pixels).to(loaded.device), sources, wanted))
            if len(batch):
                yield from answer_batch(loaded, name, searching, batch, options)

    return answers()


def unanswered(batch: QuestionBatch) -> QuestionBatch:
    """The questions whose answer the classifier does not give anyway; a warning for each of the others."""
    for question in batch.questions:
        if question.is_answered:
            warnings.warn(f"{question.source.name}: the model already sees {question.factual}; skipped", stacklevel=3)
    return batch.only([row for row, question in enumerate(batch.questions) if not question.is_answered])


def known_metrics(names: Sequence[str] | None) -> frozenset[str] | None:
    """The names as a set.

    Raises:
        UsageError: one is no metric of single images.
    """
    if names is None:
        return None
    known = [metric.name for metric in METRICS if metric.function is not None and not metric.of_set]
    for name in names:
        if name not in known:
            raise unknown_name("metric", name, known)
    return frozenset(names)


def read_all(images: Given | Iterable[Given], bundle: Bundle, *, skip: bool) -> Iterator[tuple[Source, Tensor]]:
    """Each image with where it comes from; those that cannot be read are skipped with a warning, or raise."""
    for place, image in enumerate(_each(images)):
        try:
            yield read_any(image, bundle, f"image {place}")
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


def read_any(image: Given, bundle: Bundle, name: str) -> tuple[Source, Tensor]:
    """One image, whatever it is given as, in the model's shape.

    Args:
        image: see `Given`.
        bundle: whose shape it is.
        name: what an image without a file is called.

    Raises:
        ImageError: it cannot be read.
    """
    options = {"light_on_dark": bundle.light_on_dark, "resize": bundle.resize}
    if isinstance(image, str | PathLike):
        path = Path(fspath(image))
        read = convert(decode(path), bundle.shape, **options)
        return Source(name=str(path), photo=path, placement=read.placement, notes=read.notes), read.pixels
    if isinstance(image, Image.Image):
        read = convert(decode_picture(image), bundle.shape, **options)
        return Source(name=getattr(image, "filename", "") or name, notes=read.notes), read.pixels
    values = (torch.tensor(image) if isinstance(image, np.ndarray) else image).detach().cpu()
    if values.is_floating_point() and values.shape == bundle.shape:  # a model's own input passes as it is
        if not (float(values.min()) >= 0 and float(values.max()) <= 1):
            raise ImageError(
                f"{name}: its values reach from {float(values.min()):g} to {float(values.max()):g}; "
                "an array of floats must lie in [0, 1]"
            )
        return Source(name=name), values.float()
    read = convert(decode_picture(_picture(values, name)), bundle.shape, **options)
    return Source(name=name, notes=read.notes), read.pixels


def _picture(values: Tensor, name: str) -> Image.Image:
    """An array as a picture of 8 bits a channel."""
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[2] not in (1, 3):
        values = values.permute(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise ImageError(f"{name}: an array of {tuple(values.shape)}; expected (H, W), (H, W, C) or (C, H, W)")
    limit = 1.0 if values.is_floating_point() else 255.0
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= limit):
        raise ImageError(f"{name}: its values reach from {low:g} to {high:g}; expected 0 to {limit:g}")
    scaled = (values.float() * (255.0 / limit)).round().to(torch.uint8)
    return Image.fromarray(scaled.contiguous().numpy())
