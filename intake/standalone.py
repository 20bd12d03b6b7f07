"""A classifier without a bundle: its input and output are found out, so that engines without parts can explain it."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..bundles.bundle import Bundle
from ..bundles.entries import PartEntry
from ..bundles.file import BundleFile, ImagesEntry
from ..bundles.known_parts import KNOWN_PARTS
from ..classifiers.foreign.adapted import Adapted, has_gradients
from ..classifiers.foreign.contract import Foreign
from ..classifiers.foreign.placing import placed
from ..errors import ImageError
from ..images.decoding import header
from ..images.reading import read_image
from ..images.sets.labelled import Labelled, looks_light_on_dark
from ..images.sets.labels import distinct
from ..images.sets.opening import open_images
from ..images.sets.survey import GREY_MODES
from .adapting import Adaptation
from .checking import SAMPLE, entry_of
from .class_matching import IMAGENET, Matched, check_count, two_classes
from .digests import with_digests
from .examining import class_list, examine
from .folder_donors import FolderDonors
from .init_options import ClassifierOptions
from .output_kind import settle_output
from .probe import Probe
from .sizes import Sizes, choose_scale, choose_sizes, ground_note

ENGINE = "pixel"  # needs nothing but the classifier
ENGINE_WITH_IMAGES = "swap"  # needs real images
LOOKED_AT = 8  # images on which a classifier is tried if none are labelled
REMEDY = "`cfx init` and `cfx train` make a bundle that has it"


@dataclass(frozen=True)
class StandaloneClassifier:
    """A classifier without a bundle.

    Attributes:
        bundle: with the classifier only.
        notes: what was decided.
        warnings: what looks wrong.
    """

    bundle: Bundle
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


Photos = Callable[[tuple[int, int, int], str], Tensor]
"""Reads some of the images to explain in a shape (C, H, W), resized as one of `RESIZES`: (N, C, H, W) in [0, 1]."""


def open_with_images(
    foreign: Foreign, source: str, options: ClassifierOptions, device: str = "cpu"
) -> StandaloneClassifier:
    """Examine a classifier on labelled images, as `cfx init` does.

    Args:
        foreign: the classifier.
        source: labelled images, as in `open_images`.
        options: the user's settings.
        device: that the classifier runs on.

    Raises:
        UsageError, DataError, ImageError: the images cannot be used, or the classifier does not match them.
    """
    given = class_list(options.classes)
    named = given.names
    images = open_images(source, root=options.root, classes=named if options.label is None else None)
    survey = images.survey()
    images = replace(images, ground=survey.ground)
    scale, scale_notes = choose_scale(options, survey, images.name)
    sizes = choose_sizes(options, foreign, survey.size, survey.channels)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    sample = images.load(order[: SAMPLE[1]], sizes.shape, resize=sizes.resize, scale=scale).data
    matched, checked = examine(foreign, images, sample, named, options, brief=True)
    entry = ImagesEntry(source=source, scale=scale, ground=survey.ground, flip=options.flip)
    file = description(foreign, sizes, matched, checked.entry, looks_light_on_dark(sample), images=entry)
    says = f"right on {checked.accuracy:.1%} of {checked.looked_at} labelled images"
    notes = (
        *given.notes,
        *images.notes,
        *scale_notes,
        *ground_note(survey),
        *matched.notes,
        *checked.notes,
        f"{foreign.name}: {says}",
    )
    bundle = opened(replace(file, engine=ENGINE_WITH_IMAGES), foreign, checked.classifier, device)
    bundle.models.put("donors", FolderDonors(images, matched, sizes, scale))
    return StandaloneClassifier(bundle, notes, checked.warnings)


def open_with_photos(
    foreign: Foreign, photos: Photos, found: tuple[int, int], channels: int, options: ClassifierOptions, device: str
) -> StandaloneClassifier:
    """Open a classifier with the preprocessing that its source declares or the user sets.

    Args:
        foreign: the classifier.
        photos: reads some of the images to explain.
        found: (H, W) of these images.
        channels: 1 if they are grey, else 3.
        options: the user's settings.
        device: that the classifier runs on.

    Raises:
        UsageError: the classifier fails, or its output cannot be told.
    """
    given = class_list(options.classes)
    named = given.names
    sizes = choose_sizes(options, foreign, found, channels)
    pixels = (photos(sizes.shape, sizes.resize) * 255).round().to(torch.uint8)
    # Mirrored, too, because answers to one image alone would not show whether they depend on the rest of a batch.
    sample = Labelled(torch.cat([pixels, pixels.flip(3)]), torch.zeros(2 * len(pixels), dtype=torch.int64))
    names = named if named is not None else foreign.classes
    probe = Probe(foreign, sample, options.preprocessing, None if names is None else len(names))
    label = settle_output(probe, names, options.label)
    notes = [*given.notes, *probe.notes]
    if label is not None:
        classes = two_classes(label)
    elif named is not None:
        check_count(probe, named)
        classes = tuple(named)
    elif foreign.classes is not None and len(foreign.classes) == probe.classes:
        classes = distinct(foreign.classes)
    else:
        classes = tuple(str(index) for index in range(probe.classes))
        hint = "imagenet" if len(classes) == IMAGENET else "FILE"
        notes.append(f"the classifier's {len(classes)} classes have no names; --classes {hint} names them")
    declared = (*dict.fromkeys((*foreign.declared, *probe.given)),)
    notes.append(unchecked({*declared}))
    adapted = probe.adapted()
    gradients = foreign.differentiable and has_gradients(adapted, sample.floats(slice(0, 4)))
    entry = entry_of(probe, Adaptation(adapted, declared), Matched(classes, classes), differentiable=gradients)
    file = description(foreign, sizes, Matched(classes, classes), entry, looks_light_on_dark(sample))
    return StandaloneClassifier(opened(file, foreign, adapted, device), tuple(notes))


def unchecked(declared: Set[str]) -> str:
    """A note that without labelled images nothing tells whether the preprocessing is right."""
    if {"mean", "std", "scale"} & declared:
        return "the preprocessing is used as declared; without labelled images (--images DIR) it could not be checked"
    return (
        "whether the classifier's input is normalised is not known, and it is not; without labelled images nothing "
        "could be checked: --mean and --std set it, --images DIR with a folder of images for each class compares the "
        "usual ones"
    )


def description(
    foreign: Foreign,
    sizes: Sizes,
    matched: Matched,
    entry: PartEntry,
    light_on_dark: bool,
    images: ImagesEntry | None = None,
) -> BundleFile:
    """What bundle.toml would say about the classifier."""
    assert entry.foreign is not None
    if not matched.among:  # all of its classes can be targets, with images or without
        entry = replace(entry, foreign=replace(entry.foreign, columns=None, classes=None))
    file = BundleFile(
        name=foreign.name,
        classes=matched.classes,
        shape=sizes.shape,
        light_on_dark=light_on_dark,
        engine=ENGINE,
        resize=None if sizes.resize == "pad" else sizes.resize,
        images=images,
        present=None if matched.among or matched.columns is None else matched.columns,
        left_out={part.name: REMEDY for part in KNOWN_PARTS if part.name != "classifier"},
        parts={"classifier": entry},
    )
    return with_digests(file, foreign)


def opened(file: BundleFile, foreign: Foreign, classifier: Adapted, device: str) -> Bundle:
    """The classifier as a bundle. A model of the user's own program stays on its device."""
    model: nn.Module = classifier
    if foreign.kind == "live":
        device = next((str(tensor.device) for tensor in model.parameters()), "cpu")
    else:
        model = placed(model, device).requires_grad_(False)
    return Bundle(Path(foreign.name), device, standalone=(file, model))


def first_photos(paths: Sequence[Path]) -> tuple[tuple[int, int], int]:
    """(H, W) of the first image among some files that can be read, and 1 if it is grey, else 3.

    Raises:
        ImageError: none can be read.
    """
    problem: ImageError | None = None
    for path in paths:
        try:
            found = header(path, str(path))
        except ImageError as error:
            problem = problem or error
        else:
            return found.size, 1 if found.mode in GREY_MODES else 3
    raise problem or ImageError("no images to explain")


@dataclass(frozen=True)
class Alike:
    """Photos that a classifier without a bundle reads in one shape, so that none decides how the others are read.

    Attributes:
        size: (H, W) of the first of them.
        channels: 1 if they are grey, else 3.
        places: their places among all photos.
    """

    size: tuple[int, int]
    channels: int
    places: list[int]


def alike(foreign: Foreign, paths: Sequence[Path], options: ClassifierOptions) -> list[Alike]:
    """Groups of files by the shape in which the classifier reads them. Unreadable ones, if not all, are in the first.

    Raises:
        ImageError: none can be read.
    """
    groups: dict[tuple[object, ...], Alike] = {}
    unreadable: list[int] = []
    for place, path in enumerate(paths):
        try:
            size, channels = first_photos([path])
        except ImageError:
            unreadable.append(place)
            continue
        sizes = choose_sizes(options, foreign, size, channels)
        group = groups.setdefault((sizes.shape, sizes.resize), Alike(size, channels, []))
        group.places.append(place)
    if not groups:
        first_photos(paths)
    found = [*groups.values()]
    if found:
        found[0].places[:] = sorted([*found[0].places, *unreadable])
    return found


def photos_of(paths: Sequence[Path]) -> Photos:
    """Reads the first of some image files, without those that cannot be read."""

    def read(shape: tuple[int, int, int], resize: str) -> Tensor:
        found: list[Tensor] = []
        problem: ImageError | None = None
        for path in paths:
            try:
                found.append(read_image(path, shape, resize=resize).pixels)
            except ImageError as error:
                problem = problem or error
            if len(found) == LOOKED_AT:
                break
        if not found:
            raise problem or ImageError("no images to explain")
        return torch.stack(found)

    return read
