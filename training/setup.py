"""`cfx init`: checks whether a user's classifier matches the images, and writes a new bundle."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..bundles.entries import PartEntry
from ..bundles.file import BundleFile, ImagesEntry
from ..bundles.finding import NAME
from ..bundles.own_images import own_images
from ..classifiers.foreign.factories import FACTORY, check_trust_can_be_kept
from ..classifiers.foreign.opening import Foreign, files_of, open_classifier, trust
from ..errors import BundleError, DataError, few
from ..files import expanded, make_directory, remove, write_bytes
from ..images.sets.image_set import ImageSet
from ..images.sets.labelled import looks_light_on_dark
from ..images.sets.split import FEWEST, FEWEST_OUTSIDE_TEST
from ..intake.checking import SAMPLE
from ..intake.class_matching import Matched
from ..intake.digests import content_of, with_digests
from ..intake.examining import class_list, examine
from ..intake.init_options import InitOptions
from ..intake.near_copies import near_copies
from ..intake.sizes import choose_scale, choose_sizes, ground_note
from ..intake.unreadable import find_unreadable
from .context import CHECKPOINTS
from .needed import seconds_for
from .parts import PARTS, wanted_parts
from .recipe import MOST_RELIABLE_ENGINE
from .reopening import check_reopens
from .sheet import NAME as SHEET


@dataclass(frozen=True, kw_only=True)
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
        seconds: about how long the whole training takes on this machine.
    """

    directory: Path
    file: BundleFile
    images: ImageSet
    accuracy: float | None
    looked_at: int
    confusions: tuple[tuple[int, str, str], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float


def set_up(directory: Path, options: InitOptions) -> InitReport:
    """Check that classifier and images match, and write bundle.toml and the classifier into `directory`.

    Raises:
        UsageError, DataError, BundleError: one cannot be opened, or they do not match; then nothing is written.
        OutputError: the directory cannot be written to.
    """
    before = bundle_before(directory, overwrite=options.overwrite)
    if options.classifier is not None and FACTORY.fullmatch(options.classifier):
        check_trust_can_be_kept(options.classifier)
    foreign = None if options.classifier is None else open_classifier(options.classifier, options.weights)
    given = class_list(options.classes)
    named = given.names
    entry = images_entry(options, named)
    images = own_images(entry)
    survey = images.survey()
    images = replace(images, ground=survey.ground)
    scale, scale_note = choose_scale(options, survey, images.name)
    sizes = choose_sizes(options, foreign, survey.size, survey.channels, working=options.working)
    split = images.split()
    order = images.existing(torch.cat([split.test, split.held_out, split.judge_held_out, split.train]))
    loaded = images.load(order[: SAMPLE[1]], sizes.shape, resize=sizes.resize, scale=scale)
    left_out = find_unreadable(images, split, survey, loaded)
    sample = loaded.data
    matched, checked = Matched(images.classes, images.classes), None
    if foreign is not None:
        matched, checked = examine(foreign, images, sample, named, options)
    present = tuple(label for label in range(len(images.classes)) if label not in (*split.too_few, *left_out.lost))
    file = BundleFile(
        name=directory.resolve().name,
        classes=matched.labels,
        shape=sizes.shape,
        light_on_dark=looks_light_on_dark(sample),
        recipe="cfx train DIR",
        engine=MOST_RELIABLE_ENGINE,
        working=None if sizes.working == sizes.shape[1:] else sizes.working,
        resize=None if sizes.resize == "pad" else sizes.resize,
        present=None if len(present) == len(matched.labels) else present,
        images=replace(entry, count=len(images), scale=scale, ground=images.ground),
        wanted=wanted_parts(),
        parts={} if checked is None else {"classifier": checked.entry},
    )
    file, replaced = write(directory, with_digests(file, foreign), foreign, before)
    if foreign is not None and foreign.kind == "factory":
        trust(directory, foreign.name)
    if checked is not None:
        try:
            check_reopens(directory, checked.classifier, sample)
        except BundleError:
            if before is None:
                remove(directory / name for name in (NAME, *files_of_bundle(file)))
            raise
    notes = (*images.notes, *grouping(images), *scale_note, *ground_note(survey), *sizes.notes, *matched.notes)
    warnings = (*left_out.warnings, *rare_or_missing(images, split.too_few))
    return InitReport(
        directory=directory,
        file=file,
        images=images,
        accuracy=None if checked is None else checked.accuracy,
        looked_at=0 if checked is None else checked.looked_at,
        confusions=() if checked is None else checked.confusions,
        seconds=seconds_for(file, len(split.train)),
        notes=(
            *given.notes,
            *notes,
            *(() if checked is None else checked.notes),
            *near_copies(images, split, scale),
            *replaced,
        ),
        warnings=(*warnings, *(() if checked is None else checked.warnings)),
    )


def images_entry(options: InitOptions, named: tuple[str, ...] | None) -> ImagesEntry:
    """What bundle.toml says about the images; `named` are the names that the user gives to classes."""
    return ImagesEntry(
        source=_absolute(options.images),
        flip=options.flip,
        group=options.group,
        root=None if options.root is None else str(options.root.resolve()),
        classes=named if options.label is None else None,  # with a label, they name the labels of the classifier
        skip_unreadable=options.skip_unreadable,
    )


def grouping(images: ImageSet) -> list[str]:
    """A note about the groups that the split keeps together."""
    if images.groups is None:
        return []
    return [f"{len(set(images.groups))} groups of images: all images of a group are in one subset"]


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


def _absolute(images: str) -> str:
    """The images' source with its path made absolute, if it is one, so that it can be opened from anywhere."""
    kind = "hf:" if images.startswith("hf:") else ""
    path = expanded(images.removeprefix(kind))
    return f"{kind}{path.resolve()}" if path.exists() else images


def bundle_before(directory: Path, *, overwrite: bool) -> BundleFile | None:
    """The bundle that is in the directory already and is to be replaced; None if there is none.

    Raises:
        BundleError: there is one that is not to be replaced, or the directory is a file.
    """
    if directory.exists() and not directory.is_dir():
        raise BundleError(f"{directory}: is a file; choose a directory for the bundle")
    if not (directory / NAME).exists():
        return None
    if not overwrite:
        raise BundleError(
            f"{directory}: already holds a bundle; add --overwrite to replace it (trained parts that are still right "
            "are kept), or choose another directory"
        )
    try:
        return BundleFile.read(directory)
    except BundleError:  # damaged: nothing of it can be kept
        return None


def write(
    directory: Path, file: BundleFile, foreign: Foreign | None, before: BundleFile | None
) -> tuple[BundleFile, list[str]]:
    """Write the classifier's files and then bundle.toml.

    Args:
        directory: of the bundle.
        file: its description.
        foreign: the classifier; None if cfx is to train one.
        before: the bundle that is replaced; None if there is none.

    Returns:
        The description with the trained parts that were kept, and notes about them.

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
    notes: list[str] = []
    if before is not None:
        kept, gone = kept_parts(before, file)
        wanted = before.wanted or file.wanted
        file = replace(file, parts={**file.parts, **kept}, wanted=wanted, settings=before.settings)
        if kept:
            notes.append(f"kept: {', '.join(kept)}")
        if gone:
            notes.append(f"to be trained anew, because the classifier or the images changed: {', '.join(gone)}")
    contents = {name: content_of(content) for name, content in files.items()}  # perhaps of a file replaced below
    for name, content in contents.items():
        write_bytes(directory / name, content)
    file.write(directory)
    if before is not None:
        remove(directory / name for name in files_of_bundle(before) - files_of_bundle(file))
        if file.parts != before.parts:
            remove([directory / SHEET])
            shutil.rmtree(directory / CHECKPOINTS, ignore_errors=True)
    return file, notes


def kept_parts(before: BundleFile, after: BundleFile) -> tuple[dict[str, PartEntry], list[str]]:
    """The trained parts of a bundle that are still right for its new description, and the names of the others."""
    trained = {name: entry for name, entry in before.parts.items() if entry.foreign is None}
    if before.images is None or after.images is None or _basis(before) != _basis(after):
        return {}, list(trained)
    changed = set() if _same_classifier(before, after) else {"classifier"}
    while True:  # what needs a part that changed has changed
        more = {name for part in PARTS for name in part.makes if changed & {*part.needs}} - changed
        if not more:
            break
        changed |= more
    if "classifier" in after.parts:
        trained.pop("classifier", None)
    return {name: e for name, e in trained.items() if name not in changed}, [n for n in trained if n in changed]


def _basis(file: BundleFile) -> tuple[object, ...]:
    """What all trained parts of a bundle depend on."""
    return (file.classes, file.shape, file.light_on_dark, file.working, file.resize, file.present, file.images)


def _same_classifier(before: BundleFile, after: BundleFile) -> bool:
    first, second = (file.parts.get("classifier") for file in (before, after))
    if second is None:  # cfx trains it, and has perhaps done so
        return first is None or first.foreign is None
    if first is None or first.foreign is None or second.foreign is None or second.foreign.sha256 is None:
        return False  # code without weights may have been edited
    return replace(first.foreign, classes=None) == replace(second.foreign, classes=None)


def files_of_bundle(file: BundleFile) -> set[str]:
    """The names of the files of all parts in a bundle's directory."""
    foreign = [name for entry in file.parts.values() if entry.foreign is not None for name in files_of(entry.foreign)]
    return {*foreign, *(entry.file for entry in file.parts.values() if entry.file is not None)}
