"""Examines a classifier on labelled images: its output, its classes, its preprocessing, and how often it is right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..classifiers.foreign.contract import Foreign
from ..classifiers.foreign.libraries import imagenet_classes
from ..errors import DataError
from ..images.sets.class_lists import ClassList, read_class_list
from ..images.sets.image_set import ImageSet
from ..images.sets.labelled import Labelled
from ..images.sets.labels import composed, distinct
from .checking import Checked, check
from .class_matching import Matched, match_classes
from .init_options import ClassifierOptions
from .output_kind import settle_output
from .probe import TIME_LIMIT, Probe

IMAGENET = "imagenet"
BRIEFLY = 5.0  # seconds for one check of a classifier that is not kept


def class_list(classes: Path | Sequence[str] | None) -> ClassList:
    """The names that the user gave, in the order of the logits, and what was decided in reading them.

    Args:
        classes: the names, a file of them as `read_class_list` takes it, or `imagenet`.

    Raises:
        DataError: the file cannot be read, or a name is missing or given twice.
    """
    if classes is None:
        return ClassList()
    if isinstance(classes, Path):
        if str(classes) == IMAGENET and not classes.exists():
            return ClassList(distinct(imagenet_classes()))
        return read_class_list(classes)
    names = tuple(composed(name) for name in classes)
    if len(set(names)) < len(names) or len(names) < 2:
        raise DataError(f"classes: {len(names)} names, of which {len(set(names))} differ; give each class its own name")
    return ClassList(names)


def class_names(classes: Path | Sequence[str] | None) -> tuple[str, ...] | None:
    """The names of `class_list`; None without any."""
    return class_list(classes).names


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
