"""`cfx init`: checks whether a user's classifier matches the images, and writes a new bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..bundles.file import BundleFile, ImagesEntry
from ..bundles.finding import NAME
from ..bundles.own_images import own_images
from ..classifiers.foreign.factories import FACTORY, check_trust_can_be_kept
from ..classifiers.foreign.opening import Foreign, open_classifier, trust
from ..errors import BundleError, DataError, UsageError, few
from ..files import expanded, make_directory, write_bytes
from ..images.scale import Scale
from ..images.sets.image_set import ImageSet
from ..images.sets.labelled import looks_light_on_dark
from ..images.sets.labels import read_classes
from ..images.sets.split import FEWEST, FEWEST_OUTSIDE_TEST
from ..images.sets.survey import Survey
from .checking import SAMPLE, Matched, check, match_classes
from .init_options import InitOptions
from .near_copies import near_copies
from .parts import wanted_parts
from .probe import Probe
from .recipe import MOST_RELIABLE_ENGINE
from .unreadable import find_unreadable

LARGEST_DIRECT = 128  # pixels; the models work on larger images at a lower resolution
WORKING = 64  # pixels of the longer side at that resolution, unless the user sets it
LARGEST_SIDE = 256  # pixels of the longer side if the classifier takes any size


@dataclass(frozen=True)
class InitReport:
    """The results of `set_up`.

    Attributes:
        directory: of the bundle.
        file: bundle.toml.
        images: the image set.
        accuracy: share of the `looked_at` images that the classifier classifies correctly; None without a classifier.
        looked_at: the number of labelled images on which it was checked.
        confusions: (count, labelled class, predicted class) of the most common mistakes.
        notes: what was decided or left out.
        warnings: what looks wrong.
    """

    directory: Path
    file: BundleFile
    images: ImageSet
    accuracy: float | None
    looked_at: int
    confusions: tuple[tuple[int, str, str], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def set_up(directory: Path, options: InitOptions) -> InitReport:
    """Check that classifier and images match, and write bundle.toml and the classifier into `directory`.

    Raises:
        UsageError, DataError, BundleError: one cannot be opened, or they do not match; then nothing is written.
        OutputError: the directory cannot be written to.
    """
    _must_be_free(directory)
    if options.classifier is not None and FACTORY.fullmatch(options.classifier):
        check_trust_can_be_kept(options.classifier)
    foreign = None if options.classifier is None else open_classifier(options.classifier, options.weights)
    entry = ImagesEntry(
        source=_absolute(options.images),
        flip=options.flip,
        group=options.group,
        root=None if options.root is None else str(options.root.resolve()),
        classes=None if options.classes is None else tuple(read_classes(options.classes)),
        skip_unreadable=options.skip_unreadable,
    )
    images = own_images(entry)
    survey = images.survey()
    images = replace(images, ground=survey.ground)
    scale, scale_note = choose_scale(options, survey, images.name)
    sizes = choose_sizes(options, foreign, survey)
    split = images.split()
    order = images.existing(torch.cat([split.test, split.held_out, split.judge_held_out, split.train]))
    loaded = images.load(order[: SAMPLE[1]], sizes.shape, resize=sizes.resize, scale=scale)
    left_out = find_unreadable(images, split, survey, loaded)
    sample = loaded.data
    matched, checked = Matched(images.classes), None
    if foreign is not None:
        probe = Probe(foreign, sample, options.preprocessing)
        matched = match_classes(probe, images, entry.classes)
        checked = check(probe, matched)
    present = tuple(label for label in range(len(images.classes)) if label not in (*split.too_few, *left_out.lost))
    file = BundleFile(
        name=directory.resolve().name,
        classes=matched.classes,
        shape=sizes.shape,
        light_on_dark=looks_light_on_dark(sample),
        recipe="cfx train DIR",
        engine=MOST_RELIABLE_ENGINE,
        working=None if sizes.working == sizes.shape[1:] else sizes.working,
        resize=None if sizes.resize == "pad" else sizes.resize,
        present=None if len(present) == len(matched.classes) else present,
        images=replace(entry, count=len(images), scale=scale, ground=images.ground),
        wanted=wanted_parts(),
        parts={} if checked is None else {"classifier": checked.entry},
    )
    file = write(directory, file, foreign)
    if foreign is not None and foreign.kind == "factory":
        trust(directory, foreign.name)
    return InitReport(
        directory,
        file,
        images,
        None if checked is None else checked.accuracy,
        0 if checked is None else checked.looked_at,
        () if checked is None else checked.confusions,
        (
            *images.notes,
            *grouping(images),
            *scale_note,
            *ground_note(survey),
            *sizes.notes,
            *matched.notes,
            *(() if checked is None else checked.notes),
        ),
        (
            *left_out.warnings,
            *near_copies(images, split, scale),
            *(() if checked is None else checked.warnings),
            *rare_or_missing(images, split.too_few),
        ),
    )


def grouping(images: ImageSet) -> list[str]:
    """A note about the groups that the split keeps together."""
    if images.groups is None:
        return []
    return [f"{len(set(images.groups))} groups of images: all images of a group are in one subset"]


def choose_scale(options: InitOptions, survey: Survey, name: str) -> tuple[Scale | None, list[str]]:
    """What black and white are in images with more than 8 bits per channel, and a note about it.

    Raises:
        ImageError: it cannot be told.
    """
    if survey.deep is None:
        return None, []
    if options.window is not None:
        scale = Scale(*options.window, clips=True)
        return scale, [f"{survey.deep.kind} images: {scale}, as asked for"]
    scale, says = survey.deep.decide(name)
    return scale, [says]


def ground_note(survey: Survey) -> list[str]:
    """A note about what transparent images are laid on, and why."""
    if survey.ground is None:
        return []
    seen = "light" if survey.ground == "black" else "dark" if (survey.brightness or 0.0) < 0.5 else "not very light"
    count = f"{survey.transparent} of {survey.looked_at} looked at {'is' if survey.transparent == 1 else 'are'}"
    return [
        f"transparent pictures: laid on {survey.ground}, because what is visible in them is {seen} "
        f"({count} transparent)"
    ]


def rare_or_missing(images: ImageSet, too_few: Sequence[int]) -> list[str]:
    """Warnings for classes with too few images, and for classes without images."""
    counts = images.counts().tolist()
    rare = [images.classes[label] for label in too_few if counts[label]]
    missing = [name for name, count in zip(images.classes, counts, strict=True) if not count]
    found = []
    if rare:
        found.append(
            f"classes with too few images, which cannot be targets ({FEWEST} are needed, {FEWEST_OUTSIDE_TEST} of them "
            f"outside the test split): {few(rare)}"
        )
    if missing:
        found.append(f"classes without images, which cannot be targets: {few(missing)}")
    return found


@dataclass(frozen=True)
class Sizes:
    """The shapes in which images are used.

    Attributes:
        shape: (C, H, W) in which they are read.
        working: (H, W) of the working resolution.
        resize: one of `resizing.RESIZES`.
        notes: what was decided.
    """

    shape: tuple[int, int, int]
    working: tuple[int, int]
    resize: str
    notes: tuple[str, ...]


def choose_sizes(options: InitOptions, foreign: Foreign | None, survey: Survey) -> Sizes:
    """The size that the user set, else the images' own if it is small, else the classifier's, else a limited one."""
    found, channels = survey.size, survey.channels
    notes: list[str] = []
    said = foreign.preprocessing if foreign is not None else None
    declared = foreign.declared if foreign is not None else ()
    takes = options.preprocessing.get("channels") or (said.channels if said and "channels" in declared else None)
    if takes == 1 and channels == 3:
        notes.append("the images are in colour and the classifier takes grey images: they are converted to grey")
        channels = 1
    elif takes == 3 and channels == 1:
        notes.append("the images are grey and the classifier takes colour: the grey channel is repeated three times")
    if options.size is not None:
        size = options.size
    elif max(found) <= LARGEST_DIRECT:
        size = found
    elif said is not None and said.size is not None:
        size = said.size
    else:
        scale = min(1.0, LARGEST_SIDE / max(found))
        size = (round(found[0] * scale), round(found[1] * scale))
    longest = options.working or (max(size) if max(size) <= LARGEST_DIRECT else WORKING)
    if longest < 8:
        raise UsageError(f"--working {longest}: the resolution is too low; choose at least 8 pixels")
    scale = min(1.0, longest / max(size))
    working = (max(4, round(size[0] * scale)), max(4, round(size[1] * scale)))
    if working != size:
        notes.append(
            f"models work at {working[0]}x{working[1]}, and changes are carried back to {size[0]}x{size[1]} "
            "and to the original photo"
        )
    proportions = abs(found[0] / found[1] - size[0] / size[1]) < 0.02
    resize = options.resize or ("pad" if proportions or max(size) <= LARGEST_DIRECT else "crop")
    return Sizes((channels, *size), working, resize, (*notes,))


def _absolute(images: str) -> str:
    """The images' source with its path made absolute, if it is one, so that it can be opened from anywhere."""
    kind = "hf:" if images.startswith("hf:") else ""
    path = expanded(images.removeprefix(kind))
    return f"{kind}{path.resolve()}" if path.exists() else images


def _must_be_free(directory: Path) -> None:
    if (directory / NAME).exists():
        raise BundleError(f"{directory}: already holds a bundle; remove it or choose another directory")
    if directory.exists() and not directory.is_dir():
        raise BundleError(f"{directory}: is a file; choose a directory for the bundle")


def write(directory: Path, file: BundleFile, foreign: Foreign | None) -> BundleFile:
    """Write the classifier's files and then bundle.toml, which is returned with their checksums.

    Raises:
        OutputError: the directory cannot be written to.
        DataError: there is not enough disk space.
    """
    free = make_directory(directory)
    files = foreign.files if foreign is not None else {}
    needed = sum(len(c) if isinstance(c, bytes) else c.stat().st_size for c in files.values())
    if free < needed:
        raise DataError(
            f"{directory}: the classifier needs {needed // 2**20} MB, but only {free // 2**20} MB are free there; "
            "free some space or choose a directory on another disk"
        )
    digests: list[str] = []
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.read_bytes()
        write_bytes(directory / name, data)
        digests.append(hashlib.sha256(data).hexdigest())
    if digests:
        entry = file.parts["classifier"]
        assert entry.foreign is not None
        described = replace(entry.foreign, sha256=digests[0], other_sha256=tuple(digests[1:]))
        file = file.with_part("classifier", replace(entry, sha256=digests[0], foreign=described))
    file.write(directory)
    return file
