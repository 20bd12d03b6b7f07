"""Examines a classifier on labelled images: its output, its classes, its preprocessing, and how often it is right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..classifiers.foreign.contract import Foreign
from ..classifiers.foreign.libraries import imagenet_classes
from ..errors import DataError
from ..images.sets.image_set import ImageSet
from ..images.sets.labelled import Labelled
from ..images.sets.labels import read_classes
from .checking import Checked, check
from .class_matching import Matched, distinct, match_classes
from .init_options import ClassifierOptions
from .output_kind import settle_output
from .probe import TIME_LIMIT, Probe

IMAGENET = "imagenet"
BRIEFLY = 5.0  # seconds for one check of a classifier that is not kept


def class_names(classes: Path | Sequence[str] | None) -> tuple[str, ...] | None:
    """The names that the user gave, in the order of the logits; None without any.

    Args:
        classes: the names, a file of them as `read_classes` takes it, or `imagenet`.

    Raises:
        DataError: the file cannot be read, or a name is missing or occurs twice.
    """
    if classes is None:
        return None
    if isinstance(classes, Path):
        if str(classes) == IMAGENET and not classes.exists():
            return distinct(imagenet_classes())
        return tuple(read_classes(classes))
    names = tuple(classes)
    if len(set(names)) < len(names) or len(names) < 2:
        raise DataError(f"classes: {len(names)} names, of which {len(set(names))} differ; give each class its own name")
    return names


def examine(
    foreign: Foreign,
    images: ImageSet,
    sample: Labelled,
    named: Sequence[str] | None,
    options: ClassifierOptions,
    *,
    brief: bool = False,
) -> tuple[Matched, Checked]:
    """Examine a classifier on labelled images.

    Args:
        foreign: the classifier.
        images: the labelled images.
        sample: some of them, read.
        named: names of the classifier's classes, or of its labels, that the user gave.
        options: the user's other settings.
        brief: as in `check`; each check takes `BRIEFLY` seconds at most.

    Raises:
        UsageError: the classifier fails, its output or classes cannot be told, or it is not what the user says.
    """
    names = named if named is not None else foreign.classes
    count = len(images.classes if names is None else names)
    probe = Probe(foreign, sample, options.preprocessing, count, seconds=BRIEFLY if brief else TIME_LIMIT)
    label = settle_output(probe, names, options.label)
    matched = match_classes(probe, images, named, label=label, among=options.among)
    return matched, check(probe, matched, brief=brief)
