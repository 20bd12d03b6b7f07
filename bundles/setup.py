"""The first step with a classifier of one's own: does it fit the images, and what does it take to make it fit?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..classifiers.sources import Foreign, open_classifier, trust
from ..data.datasets import SPLIT_PARTS, Labelled
from ..data.errors import BundleError, DataError, UsageError, few
from ..data.files import make_directory, write_bytes
from ..data.sources import (
    ImageSet,
    Parts,
    looks_light_on_dark,
    open_images,
    read_classes,
    sample_by_class,
    split_by_class,
)
from .bundle import SCHEMA, Bundle, write_description
from .checking import SAMPLE, Probe, check, match_classes
from .recipe import SURE

LARGEST_DIRECT = 128  # pixels; larger images are worked on in a smaller size
WORKING = 64  # pixels of the longer side of that size, unless the user says
LARGEST_SIDE = 256  # pixels of images whose classifier takes any size
MOST_IMAGES = 50_000  # in each part; a training of some thousand steps sees each some eight times
MOST_CLASSES = 60  # beyond which classes without images are put together


@dataclass(frozen=True)
class Wish:
    """What the user said of a classifier and images; None where it is left to be found out.

    Attributes:
        images: as `open_images` takes it.
        classifier: as `open_classifier` takes it; None to have cfx train one.
        weights: a file, for a classifier that is code.
        classes: a file of class names in the order of the logits.
        root: where torchvision's data sets lie.
        preprocessing: fields of `Preprocessing`.
        size: (H, W) of the images.
        working: pixels of the longer side that models work in.
        fit: "pad", "crop" or "stretch".
        flip: whether left and right do not matter to the class.
    """

    images: str
    classifier: str | None = None
    weights: Path | None = None
    classes: Path | None = None
    root: Path | None = None
    preprocessing: dict[str, Any] | None = None
    size: tuple[int, int] | None = None
    working: int | None = None
    fit: str | None = None
    flip: bool = False


@dataclass(frozen=True)
class Checked:
    """What `set_up` found out and wrote down.

    Attributes:
        directory: of the bundle.
        description: of bundle.toml.
        images: the image set.
        accuracy: share of `looked_at` images that the classifier names as they are labelled; None without one.
        looked_at: labelled images that it was asked about.
        confusions: (count, labelled, seen) of the commonest mistakes.
        notes: what was decided, and what had to be left out.
        warnings: what looks wrong.
    """

    directory: Path
    description: dict[str, Any]
    images: ImageSet
    accuracy: float | None
    looked_at: int
    confusions: tuple[tuple[int, str, str], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def set_up(directory: Path, wish: Wish) -> Checked:
    """Look at classifier and images, check that they fit, and write bundle.toml and the classifier into `directory`.

    Raises:
        UsageError, DataError, BundleError: one cannot be had, or they do not fit; nothing is written then.
        OutputError: the directory cannot be written to.
    """
    _must_be_free(directory)
    notes: list[str] = []
    warnings: list[str] = []
    foreign = None if wish.classifier is None else open_classifier(wish.classifier, wish.weights)
    source: dict[str, Any] = {"source": _absolute(wish.images), "flip": wish.flip}
    if wish.root is not None:
        source["root"] = str(wish.root.resolve())
    if wish.classes is not None:
        source["classes"] = read_classes(wish.classes)
    images = own_images(source)
    survey = images.survey()
    if survey.broken:
        warnings.append(f"{len(survey.broken)} of {survey.looked_at} images looked at are broken: {survey.broken[0]}")
    shape, working, fit = sizes(wish, foreign, survey.size, survey.channels, notes)
    parts = split_by_class(images.labels, images.splits, classes=len(images.classes))
    order = torch.cat([parts["test"], parts["held_out"], parts["judge_held_out"], parts["fit"]])
    sample = images.load(order[: SAMPLE[1]], shape, fit=fit).data
    classes, verdict = list(images.classes), None
    if foreign is not None:
        probe = Probe(foreign, sample, wish.preprocessing or {})
        classes, columns = match_classes(probe, images, source.get("classes"), notes)
        verdict = check(probe, columns, classes, notes, warnings)
    warnings += rare_or_missing(images, parts["too_few"])
    wanted = [label for label in range(len(images.classes)) if label not in parts["too_few"]]
    description: dict[str, Any] = {
        "schema": SCHEMA,
        "name": directory.resolve().name,
        "classes": classes,
        "shape": list(shape),
        "light_on_dark": looks_light_on_dark(sample),
        "recipe": "cfx train DIR",
        "engine": SURE,
    }
    if working != shape[1:]:
        description["working"] = list(working)
    if fit != "pad":
        description["fit"] = fit
    if len(wanted) < len(classes):
        description["present"] = wanted
    description["images"] = {**source, "count": len(images)}
    description["parts"] = {} if verdict is None else {"classifier": {"architecture": "Adapted", **verdict.entry}}
    write(directory, description, foreign)
    if foreign is not None and foreign.kind == "factory":
        trust(directory, foreign.name)
    return Checked(
        directory,
        description,
        images,
        None if verdict is None else verdict.accuracy,
        0 if verdict is None else verdict.looked_at,
        () if verdict is None else verdict.confusions,
        tuple(notes),
        tuple(warnings),
    )


def rare_or_missing(images: ImageSet, too_few: Sequence[int]) -> list[str]:
    """A warning for classes of too few images, and one for those of none."""
    counts = images.counts().tolist()
    rare = [images.classes[label] for label in too_few if counts[label]]
    missing = [name for name, count in zip(images.classes, counts, strict=True) if not count]
    found = []
    if rare:
        found.append(f"too few images to learn from, fewer than 8, so no target: {few(rare)}")
    if missing:
        found.append(f"no images, so no target: {few(missing)}")
    return found


def own_images(source: Mapping[str, Any]) -> ImageSet:
    """The images that `bundle.toml` names; of very many classes only those that have some.

    Raises:
        DataError, UsageError: as `open_images`.
    """
    root = source.get("root")
    images = open_images(source["source"], root=None if root is None else Path(root), classes=source.get("classes"))
    used = images.counts().nonzero().flatten()
    if len(used) == len(images.classes) or len(images.classes) <= MOST_CLASSES:
        return images
    place = torch.full((len(images.classes),), -1)
    place[used] = torch.arange(len(used))
    return replace(images, classes=tuple(images.classes[label] for label in used.tolist()), labels=place[images.labels])


def images_of(bundle: Bundle) -> tuple[ImageSet, Parts] | None:
    """The images that a bundle names and how they are cut; None where it names none.

    Of parts with more than `MOST_IMAGES` there are as many, a fixed sample.

    Raises:
        DataError: they are not those that `cfx init` saw: labels and parts would not be the same.
        DataError, UsageError: as `open_images`.
    """
    source = bundle.description.get("images")
    if source is None:
        return None
    images = own_images(source)
    count, names = source["count"], list(images.classes)
    if len(images) != count or names != bundle.classes[: len(names)]:
        raise DataError(
            f"{images.name}: has changed since cfx init ({count} images then, {len(images)} of {len(names)} classes "
            "now); what was trained and what is tested would no longer be apart: begin a new bundle with cfx init"
        )
    parts = split_by_class(images.labels, images.splits, classes=len(images.classes))
    for name in SPLIT_PARTS:
        parts[name] = sample_by_class(images.labels, parts[name], MOST_IMAGES)
    return images, parts


def images_for_testing(bundle: Bundle) -> Labelled | None:
    """The images of the user's own set that nothing in a bundle was fitted to; None where it names no images.

    Raises:
        DataError, UsageError: as `images_of` and `ImageSet.load`.
    """
    own = images_of(bundle)
    if own is None:
        return None
    images, parts = own
    return images.load(parts["test"], bundle.shape, fit=bundle.fit).data


def sizes(
    wish: Wish, foreign: Foreign | None, found: tuple[int, int], channels: int, notes: list[str]
) -> tuple[tuple[int, int, int], tuple[int, int], str]:
    """The shape (C, H, W) that images are read in, the size that models work in, and how images are made to fit."""
    said = foreign.preprocessing if foreign is not None else None
    declared = foreign.declared if foreign is not None else ()
    takes = (wish.preprocessing or {}).get("channels") or (said.channels if said and "channels" in declared else None)
    if takes == 1 and channels == 3:
        notes.append("the images are in colour and the classifier takes grey: they are read as grey")
        channels = 1
    elif takes == 3 and channels == 1:
        notes.append("the images are grey and the classifier takes colour: each is given three times")
    if wish.size is not None:
        size = wish.size
    elif max(found) <= LARGEST_DIRECT:
        size = found
    elif said is not None and said.size is not None:
        size = said.size
    else:
        scale = min(1.0, LARGEST_SIDE / max(found))
        size = (round(found[0] * scale), round(found[1] * scale))
    longest = wish.working or (max(size) if max(size) <= LARGEST_DIRECT else WORKING)
    if longest < 8:
        raise UsageError(f"--working {longest}: too small to draw anything in; choose at least 8 pixels")
    scale = min(1.0, longest / max(size))
    working = (max(4, round(size[0] * scale)), max(4, round(size[1] * scale)))
    if working != size:
        notes.append(
            f"models work in {working[0]}x{working[1]}, and changes are carried back to {size[0]}x{size[1]} "
            "and to the original photo"
        )
    proportions = abs(found[0] / found[1] - size[0] / size[1]) < 0.02
    fit = wish.fit or ("pad" if proportions or max(size) <= LARGEST_DIRECT else "crop")
    return (channels, *size), working, fit


def _absolute(images: str) -> str:
    path = Path(images).expanduser()
    return str(path.resolve()) if path.exists() else images


def _must_be_free(directory: Path) -> None:
    if (directory / "bundle.toml").exists():
        raise BundleError(f"{directory}: holds a bundle already; remove it or choose another directory")
    if directory.exists() and not directory.is_dir():
        raise BundleError(f"{directory}: is a file; choose a directory for the bundle")


def write(directory: Path, description: dict[str, Any], foreign: Foreign | None) -> None:
    """The classifier's files and, last, bundle.toml.

    Raises:
        OutputError: the directory cannot be written to.
        DataError: the disk has no room for them.
    """
    free = make_directory(directory)
    files = foreign.files if foreign is not None else {}
    needed = sum(len(c) if isinstance(c, bytes) else c.stat().st_size for c in files.values())
    if free < 2 * needed:
        raise DataError(f"{directory}: the classifier needs {needed // 2**20} MB, and {free // 2**20} are free there")
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.read_bytes()
        write_bytes(directory / name, data)
        entry = description["parts"]["classifier"]
        digest = hashlib.sha256(data).hexdigest()
        if name == entry["file"]:
            entry["sha256"] = digest
        else:
            entry.setdefault("other_sha256", []).append(digest)
    write_description(directory, description)
