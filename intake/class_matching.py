"""Which of a classifier's classes the classes of labelled images are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..bundles.labelling import Labelling
from ..classifiers.foreign.preprocessing import MULTI_LABEL
from ..errors import UsageError, few, unknown_name
from ..images.sets.image_set import ImageSet
from ..images.sets.labels import distinct, folded
from .probe import Probe

ELSE = "(anything else)"  # the label that combines all classes without images
IMAGENET = 1000  # classes of the classifiers trained on ImageNet


@dataclass(frozen=True)
class Matched:
    """The classes of a classifier, and the labels of a bundle that they correspond to.

    Attributes:
        classes: K names, in the order of the classifier's logits.
        labels: names of the labels: those of the images, and perhaps one for all other classes.
        columns: the class of each label with images; None if classes and labels are the same.
        among: probabilities are restricted to the classes with images, which are then all classes.
        notes: what was decided.
    """

    classes: tuple[str, ...]
    labels: tuple[str, ...]
    columns: tuple[int, ...] | None = None
    among: bool = False
    notes: tuple[str, ...] = ()

    @property
    def labelling(self) -> Labelling:
        """How classes and labels correspond."""
        return Labelling(None if self.among else self.columns)


def match_classes(
    probe: Probe, images: ImageSet, named: Sequence[str] | None, *, label: str | None = None, among: bool = False
) -> Matched:
    """Match the classes of the images with the classifier's logits.

    Args:
        probe: of the classifier.
        images: the images with their classes.
        named: the class names that the user gave, in the order of the logits.
        label: the name of the label that is meant, for a classifier of several labels.
        among: restrict the probabilities to the classes of the images.

    Raises:
        UsageError: the classifier and the images have different classes, and nothing tells how they correspond.
    """
    names = images.classes
    if probe.preprocessing.output in MULTI_LABEL:
        assert label is not None
        return _of_label(names, label)
    if named is not None:
        check_count(probe, named)
        return _of_names(names, tuple(named), among)
    own, count = probe.foreign.classes, probe.classes
    if own is not None and len(own) == count:
        return _of_own_names(probe, names, distinct(own), among)
    if len(names) == count:
        note = "classes are taken in sorted order, numbers by value; give another order with --classes FILE"
        return Matched(names, names, notes=(note,))
    hint = " (--classes imagenet for the 1,000 classes of ImageNet)" if count == IMAGENET else ""
    counts = zip(names, images.counts().tolist(), strict=True)
    raise UsageError(
        f"the classifier {probe.foreign.name} has {count} classes and the images {len(names)} "
        f"({few([f'{name} {number}' for name, number in counts], 12)}); name the classifier's classes with "
        f"--classes FILE: one name per line, in the order of the logits{hint}{probe.described_outputs()}"
    )


def check_count(probe: Probe, named: Sequence[str]) -> None:
    """Raise a UsageError unless there is a name for each of the classifier's classes."""
    if len(named) != probe.classes:
        raise UsageError(
            f"--classes names {len(named)} classes and the classifier {probe.foreign.name} has {probe.classes}; "
            f"give one name for each logit, in the order of the logits{probe.described_outputs()}"
        )


def two_classes(label: str) -> tuple[str, str]:
    """The classes of a single label: without it, and with it."""
    return f"not {label}", label


def _of_label(names: Sequence[str], label: str) -> Matched:
    without, with_it = two_classes(label)
    own = [folded(name) for name in names]
    if len(names) != 2 or folded(with_it) not in own:
        raise UsageError(
            f"--label {label}: the classes are {with_it!r} and {without!r}, and the images have {few(names, 5)}; "
            f"put them into two folders, one of them named {with_it!r}"
        )
    place = own.index(folded(with_it))
    classes = (names[1 - place], names[place])  # the user's own word for "not blurred" may be "sharp"
    return Matched(classes, tuple(names), None if place == 1 else (1, 0))


def _of_names(names: tuple[str, ...], classes: tuple[str, ...], among: bool) -> Matched:
    if names == classes:
        return Matched(classes, names)
    return _of_columns(classes, names, tuple(classes.index(name) for name in names), among)


def _of_own_names(probe: Probe, names: tuple[str, ...], own: tuple[str, ...], among: bool) -> Matched:
    """Match by the names that the classifier's source declares, ignoring what people overlook."""
    foreign, count = probe.foreign, Counter(map(folded, own))
    known = {folded(name): place for place, name in enumerate(own) if count[folded(name)] == 1}
    known |= {name: place for place, name in enumerate(own)}  # an exact name goes before one in other case
    columns = [known.get(name, known.get(folded(name))) for name in names]
    unknown = [name for name, column in zip(names, columns, strict=True) if column is None]
    if unknown:
        several = [name for name in own if folded(name.rpartition(" (")[0]) == folded(unknown[0])]
        if several:
            raise UsageError(
                f"the classifier {foreign.name} has several classes named {unknown[0]!r}; "
                f"name the folder {' or '.join(several)}"
            )
        if len(names) == len(own):
            note = "classes are taken in sorted order, because the classifier has other names for its classes"
            return Matched(names, names, notes=(note,))
        raise unknown_name(f"class of {foreign.name}", unknown[0], own[:40])
    found = tuple(column for column in columns if column is not None)
    if found == tuple(range(len(own))):
        return Matched(names, names)
    return _of_columns(own, names, found, among)


def _of_columns(classes: tuple[str, ...], names: tuple[str, ...], columns: tuple[int, ...], among: bool) -> Matched:
    spelled = list(classes)
    for column, name in zip(columns, names, strict=True):
        spelled[column] = name  # as the folder is spelled
    if len(names) == len(classes):
        return Matched(tuple(spelled), names, columns)
    if among:
        note = f"probabilities are among the {len(names)} classes of the images only (--among-mine)"
        return Matched(names, names, columns, among=True, notes=(note,))
    note = (
        f"the images have {len(names)} of the classifier's {len(classes)} classes; probabilities are among all of "
        "them (--among-mine: among those of the images)"
    )
    return Matched(tuple(spelled), (*names, ELSE), columns, notes=(note,))


def best_order(seen: Tensor, labels: Tensor, count: int) -> tuple[float, tuple[int, ...] | None]:
    """The order of classes that the predictions suggest.

    Args:
        seen: (N,) int64, the predicted classes.
        labels: (N,) int64, the labelled classes.
        count: number of classes K.

    Returns:
        The share of images that are right if each predicted class is the class that most of its images are labelled
        with, and these classes by prediction; 0.0 and None if they are not all different, or one is never predicted.
    """
    table = torch.zeros(count, count)
    table.index_put_((seen, labels), torch.ones(len(labels)), accumulate=True)
    order = table.argmax(dim=1)
    if not bool((table.sum(dim=1) > 0).all()) or len(order.unique()) < count:
        return 0.0, None
    return float(table.amax(dim=1).sum()) / len(labels), tuple(order.tolist())
