"""`cfx.explain`: what the command `cfx explain` does, as a Python function that writes no files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..bundles.bundle import Bundle, load_bundle, pick_device
from ..classifiers.neutral import neutral
from ..counterfactuals.engine import TAKES_NO_TARGET
from ..counterfactuals.registry import load_engine
from ..counterfactuals.settings import check_names
from ..errors import UsageError, check_one_of, unknown_name
from ..images.reading import scale_of
from ..images.scale import Scale
from ..metrics.catalogue import OF_IMAGES
from . import parameters
from .answer import Answer
from .explanation import Explanation
from .given import Given, Pair, allowed_of, each_of
from .loop import AnswerLoop
from .pipeline import AnswerOptions, default_engine
from .segments import segments_of
from .standalone import Model, description_of, open_standalone, peeked
from .style import Style, typical_of
from .wanted import Wanted, wanted_of

_calculated_in: set[int] = set()  # the ids of this process and of those that it was forked from


def explain(
    images: Given | Iterable[Given | Pair],
    *,
    target: str | int | Iterable[str | int] | np.ndarray | Tensor = "auto",
    other_than: str | int | None = None,
    certain: bool = False,
    region: Sequence[int] | None = None,
    mask: Given | None = None,
    bundle: str | Path | Bundle | None = None,
    classifier: Model | None = None,
    classes: Sequence[str] | Mapping[int, str] | Mapping[str, int] | str | PathLike[str] | None = None,
    donors: str | PathLike[str] | None = None,
    preprocessing: Mapping[str, object] | None = None,
    engine: str | None = None,
    settings: Mapping[str, object] | None = None,
    confidence: float = 0.9,
    count: int = 1,
    style: Style = "minimal",
    regions: bool | str | PathLike[str] | Image.Image = False,
    metrics: Sequence[str] | None = None,
    device: str | torch.device = "auto",
    seed: int = 0,
    on_unreadable: Literal["raise", "skip"] = "raise",
    on_failure: Literal["raise", "skip"] = "raise",
    black: float = 0.0,
    white: float | None = None,
) -> Iterator[Answer]:
    """Find what would make the classifier see something else in images.

    The iterator is lazy: images are read and searched in batches of `BATCH_SIZE`, when their answers are asked for. A
    notebook displays an answer as its panel. `answer.panel()` returns the panel, and `answer.as_json()` the record.

    Examples:
        >>> import cfx
        >>> answer = next(cfx.explain("examples/four.png", target=9, engine="vcnet"))
        >>> answer.factual.name, answer.counterfactual.name, answer.valid
        ('4', '9', True)
        >>> answer.target_confidence > 0.9 and answer.metrics["l1"] < 50  # of 784 pixels
        True
        >>> answer.panel().size  # a Pillow image; a notebook shows it for `answer`
        (784, 416)

    Args:
        images: one image or several. An array or tensor (N, C, H, W) is N images. Labels that a data set or a
            `DataLoader` gives with images are left out.
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
        classes: names of the classifier's classes in the order of the logits, or as {index: name} or {name: index}, or
            their file; None if its source has them.
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
        metrics: names of the metrics to compute (docs/metrics.md); None for all but those on request:
            LPIPS, implausibility, and the changes of strokes.
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
    check_not_forked()
    given = each_of(images)
    first, given = peeked(given) if classifier is not None and donors is None else (None, given)
    with neutral():
        asked = parameters.classes_or_indices("target", target)
        other_than = None if other_than is None else parameters.class_or_index("other_than", other_than)
        certain = parameters.flag("certain", certain)
        if region is not None and mask is not None:
            raise UsageError("region and mask contradict each other: give one of them")
        region, mask = parameters.region_of(region), parameters.picture("mask", mask)
        finds_region = isinstance(mask, str) and mask == "auto"
        with parameters.naming("mask"):
            allowed = allowed_of(region, None if finds_region else mask)
        has_target = asked != ["auto"]
        check_one_of({"target": has_target, "not": other_than is not None, "goal certain": certain})
        confidence, count = (
            parameters.number("confidence", confidence),
            parameters.whole("count", count, 1, parameters.MOST_ANSWERS),
        )
        black = parameters.number("black", black)
        window = None if white is None else (black, parameters.number("white", white))
        if window is not None and window[0] == window[1]:
            raise UsageError(f"black and white are both {black:g}; give two values")
        seed = parameters.whole("seed", seed, 0, parameters.LARGEST_SEED)
        skips = [
            parameters.choice(name, value, ("raise", "skip"))
            for name, value in (("on_unreadable", on_unreadable), ("on_failure", on_failure))
        ]
        with parameters.naming("device"):
            device = pick_device(parameters.device_name(device))
        described = {"classes": classes, "donors": donors, "preprocessing": preprocessing}
        bundle = parameters.bundle_given(bundle)
        if classifier is None:
            with parameters.naming("bundle"):
                loaded = bundle_of(bundle, device, described)
        elif bundle is not None:
            raise UsageError("classifier: a bundle has a classifier of its own; give one of the two")
        else:
            about = description_of(
                parameters.class_names(classes), parameters.table("preprocessing", preprocessing), window
            )
            labelled = None if donors is None else str(parameters.file("donors", donors))
            loaded = open_standalone(classifier, first, labelled, about, device)
        name = default_engine(loaded) if engine is None else parameters.text("engine", engine)
        with parameters.naming("engine"):
            kind = load_engine(name)
        with parameters.naming("settings"):
            chosen = parameters.table("settings", settings)
            check_names(kind, chosen)
        with parameters.naming("settings" if chosen else "engine"):
            searching = kind.from_models(loaded.models, confidence=confidence, **chosen)
        with parameters.naming("regions"):
            cut = None if regions is False else segments_of(parameters.plain(regions))
        options = AnswerOptions(
            seed=seed,
            metrics=known_metrics(parameters.names("metrics", metrics)),
            count=count,
            typical=typical_of(loaded, parameters.text("style", style)),
            segments=cut,
        )
        if kind.any_class and not certain:
            if has_target or other_than is not None:
                raise UsageError(f"engine {name}: {TAKES_NO_TARGET}")
            certain = True
        explanation = Explanation(
            loop=AnswerLoop(loaded, {name: searching}, options),
            wanted=wanted_by_all(asked, other_than, loaded, certain=certain),
            allowed=allowed,
            finds_region=finds_region,
            scale=scale_for(given, loaded, window),
            on_unreadable=skips[0],
            on_failure=skips[1],
        )
    return explanation.answers(given)


def check_not_forked() -> None:
    """Refuse to calculate with threads in a fork of a process that did so: they are not there, and it would wait.

    Raises:
        UsageError: this process is such a fork.
    """
    _calculated_in.add(os.getpid())
    if len(_calculated_in) > 1 and torch.get_num_threads() > 1:
        raise UsageError(
            "cfx.explain: this process was forked from one in which it has run, and its threads would wait for ever; "
            'start processes with the method "spawn", or call torch.set_num_threads(1) in this one first'
        )


def bundle_of(bundle: str | Bundle | None, device: str, described: Mapping[str, object | None]) -> Bundle:
    """Open a bundle, unless it is a loaded one; None is "mnist".

    Raises:
        UsageError: there is no such bundle, or a classifier is described that would be explained without one.
    """
    for what, value in described.items():
        if value is not None:
            raise UsageError(f"{what}: describes a classifier without a bundle; give a classifier")
    if isinstance(bundle, Bundle):
        return bundle
    return load_bundle("mnist" if bundle is None else bundle, device)


def wanted_by_all(
    asked: Sequence[str | int], other_than: str | int | None, bundle: Bundle, *, certain: bool
) -> Wanted | None:
    """The goal of every image; None if each image's folder names its target.

    Raises:
        UsageError: there is no such class.
    """
    ruled_out = None if other_than is None else str(other_than)
    with parameters.naming("target" if other_than is None else "other_than"):
        return wanted_of(",".join(map(str, asked)), bundle, other_than=ruled_out, certain=certain)


def scale_for(images: Iterable[Given], bundle: Bundle, window: tuple[float, float] | None) -> Scale | None:
    """What black and white are in the images: as given, the bundle's own, or decided for a list of files together."""
    scale = bundle.scale if window is None else Scale(*window, clips=True)
    if scale is None and isinstance(images, list | tuple):
        scale, _ = scale_of([Path(fspath(image)) for image in images if isinstance(image, str | PathLike)])
    return scale


def known_metrics(names: Sequence[str] | None) -> frozenset[str] | None:
    """The names as a set.

    Raises:
        UsageError: a name is not a metric of single images.
    """
    if names is None:
        return None
    for name in names:
        if name not in OF_IMAGES:
            with parameters.naming("metrics"):
                raise unknown_name("metric", name, OF_IMAGES)
    return frozenset(names)
