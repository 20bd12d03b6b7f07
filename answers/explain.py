"""`cfx.explain`: what the command `cfx explain` does, as a Python function that writes no files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from operator import index
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..bundles.bundle import Bundle, load_bundle, pick_device
from ..classifiers.foreign.live import open_live
from ..classifiers.foreign.opening import open_classifier
from ..counterfactuals.engine import TAKES_NO_TARGET
from ..counterfactuals.problem import ModelError
from ..counterfactuals.registry import load_engine
from ..counterfactuals.settings import check_names
from ..errors import UsageError, check_one_of, unknown_name
from ..images.reading import scale_of
from ..images.scale import Scale
from ..intake.alone import open_with_images, open_with_photos
from ..intake.init_options import ClassifierOptions
from ..metrics.catalogue import OF_IMAGES
from .answer import Answer
from .asking import ask_each
from .given import Given, each_of, pixels_of, read_all, size_of
from .loop import AnswerLoop, Failed
from .pipeline import AnswerOptions, default_engine
from .question import QuestionBatch, Source
from .region import Allowed, Within
from .segments import segments_of
from .style import Style, typical_of
from .wanted import label_of, wanted_of

Model = nn.Module | Callable[[Tensor], Any] | str
BATCH = 64  # number of images in a batch


def explain(
    images: Given | Iterable[Given],
    *,
    target: str | int | Iterable[str | int] = "auto",
    other_than: str | int | None = None,
    certain: bool = False,
    region: Sequence[int] | None = None,
    mask: Given | None = None,
    bundle: str | Path | Bundle | None = None,
    classifier: Model | None = None,
    classes: Sequence[str] | None = None,
    donors: str | PathLike[str] | None = None,
    preprocessing: Mapping[str, object] | None = None,
    engine: str | None = None,
    settings: Mapping[str, object] | None = None,
    confidence: float = 0.9,
    count: int = 1,
    style: Style = "minimal",
    regions: bool | str | PathLike[str] | Image.Image = False,
    metrics: Sequence[str] | None = None,
    device: str = "auto",
    seed: int = 0,
    on_unreadable: Literal["raise", "skip"] = "raise",
    on_failure: Literal["raise", "skip"] = "raise",
    black: float = 0.0,
    white: float | None = None,
) -> Iterator[Answer]:
    """Find what would make the classifier see something else in images.

    The iterator is lazy: images are read and searched in batches of `BATCH`, when their answers are asked for. A
    notebook displays an answer as its panel. `answer.panel()` returns the panel, and `answer.as_json()` the record.

    Args:
        images: one image or several. An array or tensor (N, C, H, W) is N images.
        target: target class, by name or index; several for the nearest of them; "auto" for each image's runner-up
            class; "label" for the class that the image's folder names.
        other_than: a class, by name or index, of which the image is to be seen as another, the nearest.
        certain: ask for any class, with the confidence: what would make the model sure?
        region: x, y, width and height of the region that may change, in pixels of the image; None: all of it.
        mask: a picture as large as the image, its file or an array, whose light pixels may change; or "auto": where it
            would change most.
        bundle: bundle to use: a name, a directory, or a loaded bundle; None for "mnist", or for a `classifier` alone.
        classifier: a classifier to explain without a bundle: a module, which is called in eval mode and otherwise left
            as it is; another function from images to logits; or the name of one, as `cfx explain --classifier` takes.
        classes: names of the classifier's classes in the order of the logits; None if its source has them.
        donors: labelled images, as `cfx init --images` takes them, on which the classifier is examined: the size and
            normalisation of its input are tried, and its classes matched.
        preprocessing: what is known about the classifier's input and output, as fields of `Preprocessing`: `mean`,
            `std`, `size`, `channels`, `scale`, `order`, `output`, `label`, ...; without it and `donors`, the classifier
            is called with images in [0, 1].
        engine: name of the engine; None for auto.
        settings: of the engine, by name, such as {"max_steps": 80}; `cfx info --engine NAME` lists them.
        confidence: minimum probability of the target in a valid counterfactual.
        count: number of different answers to each image; the `place` of each is 1, 2, ...
        style: "minimal" for the smallest change that is valid, "human" to go on until the answer is typical of the
            target.
        regions: also find out which regions of the image suffice, as `answer.which_regions`: True or "grid" of the
            cells of a grid, "slic" of superpixels; or a picture of the image's size, or its file, with a colour for
            each region.
        metrics: names of the metrics to compute (docs/metrics.md); None for all but LPIPS.
        device: "auto", "cpu", "cuda" or "mps"; a loaded bundle stays on its device.
        seed: seed of the engine's random numbers.
        on_unreadable: "raise" an error for an image that cannot be read, or "skip" it with a warning.
        on_failure: "raise" an error for an image on which the engine or the classifier fails, so that there is no
            attempt, or "skip" it with a warning.
        black, white: values that mean black and white in files with more than 8 bits per channel. If `white` is None,
            the bundle's own are used, or they are decided for all images together if these are a list or tuple of
            files, else for each by itself (docs/images.md).

    Yields:
        One answer per image, or up to `count`, valid or not, in the order of the images. An image that meets its goal
        already is an answer as it is, with a note.

    Raises:
        InputError: an image cannot be read.
        ModelError: an engine or the classifier fails on an image.
        UsageError: goals contradict each other; a class, engine, setting, metric, bundle or device is unknown, or the
            classifier does not match its description or the donors.
        BundleError: the bundle is damaged, or lacks a part that the engine needs.
    """
    for choice, value in (("on_unreadable", on_unreadable), ("on_failure", on_failure)):
        if value not in ("raise", "skip"):
            raise unknown_name(f"choice of {choice}", value, ("raise", "skip"))
    finds_region = isinstance(mask, str) and mask == "auto"
    if region is not None and mask is not None:
        raise UsageError("region and mask contradict each other: give one of them")
    allowed = allowed_of(region, None if finds_region else mask)
    has_target = not isinstance(target, str) or target != "auto"
    check_one_of({"target": has_target, "not": other_than is not None, "goal certain": certain})
    if count < 1:
        raise UsageError(f"count {count}: ask for at least one answer")
    window = None if white is None else (black, white)
    if classifier is not None:
        if bundle is not None:
            raise UsageError("classifier: a bundle has a classifier of its own; give one of the two")
        fields = dict(preprocessing or {})
        label = fields.pop("label", None)
        description = ClassifierOptions(
            classes=None if classes is None else tuple(classes),
            preprocessing={field: as_field(value) for field, value in fields.items()},
            label=None if label is None else str(label),
            window=window,
        )
        loaded, images = open_alone(classifier, each_of(images), donors, description, pick_device(device))
    else:
        described = {"classes": classes, "donors": donors, "preprocessing": preprocessing}
        for what, value in described.items():
            if value is not None:
                raise UsageError(f"{what}: describes a classifier without a bundle; give a classifier")
        chosen = "mnist" if bundle is None else bundle
        loaded = chosen if isinstance(chosen, Bundle) else load_bundle(str(chosen), pick_device(device))
    name = engine or default_engine(loaded)
    kind = load_engine(name)
    check_names(kind, settings or {})
    options = AnswerOptions(
        seed=seed,
        metrics=known_metrics(metrics),
        count=count,
        typical=typical_of(loaded, style),
        segments=None if regions is False else segments_of(regions),
    )
    searching = kind.from_models(loaded.models, confidence=confidence, **(settings or {}))
    if kind.any_class and not certain:
        if has_target or other_than is not None:
            raise UsageError(f"engine {name}: {TAKES_NO_TARGET}")
        certain = True
    several = [target] if isinstance(target, str | int) else [*target]
    if not several:
        raise UsageError("target: there are no classes in it")
    ruled_out = None if other_than is None else str(other_than)
    wanted = wanted_of(",".join(map(str, several)), loaded, other_than=ruled_out, certain=certain)
    scale = loaded.scale if window is None else Scale(*window, clips=True)
    if scale is None and isinstance(images, list | tuple):
        scale, _ = scale_of([Path(fspath(each)) for each in images if isinstance(each, str | PathLike)])
    reading = read_all(images, loaded, scale, skip=on_unreadable == "skip")

    def where(source: Source, pixels: Tensor) -> Within | None:
        height, width = pixels.shape[1:]
        if options.segments is not None:
            options.segments.check(source.name, (width, height) if source.placement is None else source.placement.size)
        return allowed and allowed.within(source.name, (height, width), source.placement)

    def batches() -> Iterator[QuestionBatch]:
        while images_read := list(islice(reading, BATCH)):
            sources, pixels = zip(*images_read, strict=True)
            goals = [wanted or label_of(source.name, source.photo, loaded) for source in sources]
            within = [where(source, image) for source, image in images_read]
            stack = torch.stack(pixels).to(loaded.device)
            asked, failed = ask_each(loaded, stack, sources, goals, within, finds_region=finds_region)
            for row, error in failed.items():
                missing(f"{sources[row].name}: {error}")
            yield asked

    def missing(text: str) -> None:
        if on_failure == "raise":
            raise ModelError(text)
        warnings.warn(f"{text}; skipped", stacklevel=3)

    def answers() -> Iterator[Answer]:
        for result in AnswerLoop(loaded, {name: searching}, options).run(batches()):
            if isinstance(result, Failed):
                missing(str(result))
            else:
                yield from result.answers

    return answers()


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
    """A mask as a picture: arrays (H, W) or (1, H, W) of booleans, integers to 255 or floats to 1."""
    if isinstance(mask, Image.Image):
        return mask
    values = np.asarray(mask.cpu() if isinstance(mask, Tensor) else mask)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2:
        raise UsageError(f"mask: an array of shape {values.shape}; expected (height, width)")
    light = values > 0.5 if values.dtype.kind in "bf" else values >= 128
    return Image.fromarray(light.astype(np.uint8) * 255)


def open_alone(
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
        alone = open_with_images(foreign, fspath(donors), settings, device)
    else:
        first, images = peeked(images)
        if first is None:
            raise UsageError("images: there are none to explain")
        size, channels = size_of(first)
        alone = open_with_photos(foreign, lambda *how: pixels_of(first, *how)[None], size, channels, settings, device)
    for warning in alone.warnings:
        warnings.warn(f"{foreign.name}: {warning}", stacklevel=3)
    return alone.bundle, images


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
