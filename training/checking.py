"""Whether a classifier matches labelled images, and its preprocessing: as declared, or found by trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..bundles.file import PartEntry
from ..classifiers.foreign.adapted import Adapted, has_gradients
from ..classifiers.foreign.opening import describe
from ..classifiers.foreign.preprocessing import candidates, guess_output
from ..errors import UsageError, unknown_name
from ..images.sets.image_set import ImageSet
from ..images.sets.labelled import Labelled
from .probe import Probe, logits_of

SAMPLE = (128, 512)  # labelled images on which the classifier is checked: at least, at most
TRIED = (48, 256)  # of them, for each normalisation: at least, at most
LEAST_DIFFERENCE = 0.02  # smallest gain in accuracy that justifies another preprocessing
ADAPTED = "Adapted"  # the architecture of a user's classifier
ELSE = "(anything else)"  # the class that combines all classes without images


@dataclass(frozen=True)
class Checked:
    """A classifier's results on labelled images, and its entry in bundle.toml, still without checksums of its files."""

    entry: PartEntry
    accuracy: float
    looked_at: int
    confusions: tuple[tuple[int, str, str], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Matched:
    """The classes of a bundle, and the classifier's logits that they correspond to.

    Attributes:
        classes: names, in the order of the bundle's logits.
        columns: the index of each class with images in the classifier's logits; None if both are the same classes.
        notes: what was decided.
    """

    classes: tuple[str, ...]
    columns: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Adaptation:
    """A classifier with its preprocessing.

    Attributes:
        classifier: the adapted classifier.
        declared: the fields of its preprocessing that are declared.
        notes, warnings: what was guessed, and what looks wrong.
    """

    classifier: Adapted
    declared: tuple[str, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def check(probe: Probe, matched: Matched) -> Checked:
    """Adapt a classifier, run it on labelled images, and check whether it has gradients."""
    adaptation = adapt(probe, matched.columns)
    adapted, notes, classes = adaptation.classifier, list(adaptation.notes), matched.classes
    sample = probe.affordable(SAMPLE)
    logits = logits_of(adapted, sample)
    seen = logits.argmax(dim=1)
    accuracy = float((seen == sample.labels).float().mean())
    differentiable = probe.foreign.differentiable and has_gradients(adapted, sample.floats(slice(0, 4)))
    if not differentiable:
        notes.append("the classifier has no gradients: projection and vcnet can explain it, other engines cannot")
    foreign = replace(
        describe(probe.foreign),
        declared=adaptation.declared,
        preprocessing=adapted.preprocessing,
        differentiable=differentiable,
        columns=matched.columns,
    )
    entry = PartEntry(
        architecture=ADAPTED,
        file=foreign.file,
        measured={"test_accuracy": round(accuracy, 5), "images": len(sample)},
        foreign=foreign,
    )
    return Checked(
        entry,
        accuracy,
        len(sample),
        commonest_mistakes(seen, sample.labels, classes),
        tuple(notes),
        (
            *adaptation.warnings,
            *suspicious(logits, sample.labels, accuracy),
            *other_order(seen, sample.labels, classes, accuracy),
        ),
    )


def match_classes(probe: Probe, images: ImageSet, named: Sequence[str] | None) -> Matched:
    """Match the classes of the images with the classifier's logits.

    Args:
        probe: of the classifier.
        images: the images with their classes.
        named: the class names that the user gave, in the order of the logits.

    Raises:
        UsageError: the classifier and the images have different classes, and nothing tells how they correspond.
    """
    foreign, count, names = probe.foreign, probe.classes, images.classes
    if named is not None:
        if len(named) != count:
            raise UsageError(
                f"the classes file names {len(named)} classes and the classifier {foreign.name} has {count}; "
                "give one name for each logit, in the order of the logits"
            )
        if names == tuple(named):
            return Matched(names)
        return Matched((*names, ELSE), tuple(named.index(name) for name in names))
    if foreign.classes is not None and len(foreign.classes) == count:
        folded = [name.casefold() for name in foreign.classes]
        ambiguous = [name for name in names if folded.count(name.casefold()) > 1]
        if ambiguous:
            raise UsageError(
                f"the classifier {foreign.name} has several classes named {ambiguous[0]!r}; "
                "name the classifier's classes with --classes FILE: one name per line, in the order of the logits"
            )
        known = {name: place for place, name in enumerate(folded)}
        unknown = [name for name in names if name.casefold() not in known]
        if unknown:
            if len(names) == count:
                note = "classes are taken in sorted order, because the classifier has other names for its classes"
                return Matched(names, notes=(note,))
            raise unknown_name(f"class of {foreign.name}", unknown[0], foreign.classes[:40])
        columns = tuple(known[name.casefold()] for name in names)
        if columns == tuple(range(count)):
            return Matched(names)
        return Matched((*names, ELSE) if len(names) < count else names, columns)
    if len(names) == count:
        note = "classes are taken in sorted order, numbers by value; give another order with --classes FILE"
        return Matched(names, notes=(note,))
    raise UsageError(
        f"the classifier {foreign.name} has {count} classes and the images {len(names)}; "
        "name the classifier's classes with --classes FILE: one name per line, in the order of the logits"
    )


def adapt(probe: Probe, columns: Sequence[int] | None) -> Adaptation:
    """Find a classifier's preprocessing: the declared one, or else the candidate with the highest accuracy."""
    declared = (*dict.fromkeys((*probe.foreign.declared, *probe.given)),)
    notes: list[str] = []
    preprocessing = probe.preprocessing
    if "output" not in declared:
        preprocessing = replace(preprocessing, output=guess_output(probe.raw(64)))
        if preprocessing.output != "logits":
            notes.append(f"the classifier's output is taken as {preprocessing.output}; --output overrides this")
    first = probe.adapted(columns, preprocessing)
    tried = candidates(preprocessing)
    if preprocessing.channels == 3 and "order" not in probe.given:
        tried["bgr"] = replace(preprocessing, order="bgr")
    others = {name: probe.adapted(columns, other) for name, other in tried.items() if other != preprocessing}
    sample = probe.affordable(TRIED, runs=len(others) + 1)
    as_declared, count = right(first, sample), len(sample)
    rates = {name: right(other, sample) for name, other in others.items()}
    best = max(rates, key=lambda name: rates[name])
    known = bool({"mean", "std", "scale"} & set(declared))
    if rates[best] > as_declared + by_chance(as_declared, count):
        is_order = best == "bgr"
        what, options = (
            ("the channel order bgr", "--order") if is_order else (f"the normalisation {best!r}", "--mean, --std")
        )
        says = f"{rates[best]:.1%} right with {what}, {as_declared:.1%}"
        if "order" in declared if is_order else known:
            return Adaptation(first, declared, (*notes,), (f"{says} as declared: is the declaration right?",))
        notes.append(f"{says} without; it is used, {options} overrides it")
        return Adaptation(others[best], declared, (*notes,))
    if not known:
        notes.append(f"no normalisation of the input improves the accuracy ({as_declared:.1%} right without)")
    return Adaptation(first, declared, (*notes,))


def right(adapted: Adapted, sample: Labelled) -> float:
    """The accuracy; 0 if some logits are NaN or infinite."""
    logits = logits_of(adapted, sample)
    if not torch.isfinite(logits).all():
        return 0.0
    return float((logits.argmax(dim=1) == sample.labels).float().mean())


def other_order(seen: Tensor, labels: Tensor, classes: Sequence[str], accuracy: float) -> list[str]:
    """A warning if numbered classes match better in the order of torchvision's ImageFolder: 0, 1, 10, 11, 2, ..."""
    if not all(name.isdecimal() for name in classes):
        return []
    as_text = sorted(classes)
    place = torch.tensor([as_text.index(name) for name in classes])
    rate = float((seen == place[labels]).float().mean())
    if rate <= accuracy + by_chance(accuracy, len(labels)):
        return []
    return [
        f"{rate:.1%} right, instead of {accuracy:.1%}, if the classes are in the order of ImageFolder ("
        f"{', '.join(as_text[:4])}, ...): give that order with --classes FILE, one name per line"
    ]


def by_chance(share: float, count: int) -> float:
    """How much another share of `count` images may exceed this one by chance: three standard errors, at least 2 %."""
    return max(LEAST_DIFFERENCE, 3 * (share * (1 - share) / count) ** 0.5)


def suspicious(logits: Tensor, labels: Tensor, accuracy: float) -> list[str]:
    """Warnings about logits (N, K) of labelled images that suggest wrong preprocessing."""
    if not torch.isfinite(logits).all():
        return ["some outputs of the classifier are NaN or infinite: check --mean, --std and --scale"]
    found = []
    commonest_class = float(labels.bincount().max()) / len(labels)
    if accuracy <= commonest_class + by_chance(commonest_class, len(labels)):
        found.append(
            f"{accuracy:.1%} right is no better than always predicting the most common class "
            f"({commonest_class:.1%}): the preprocessing or the order of the classes is wrong, or it was never trained"
        )
    probabilities = logits.softmax(dim=1)
    if len(logits) > 1 and float((probabilities - probabilities[:1]).abs().max()) < 1e-3:
        found.append("the classifier's output is the same for every image: check the scale of the input (--scale 255)")
    elif float(probabilities.amax(dim=1).median()) > 1 - 1e-6 and accuracy < 0.9:
        found.append(
            "the classifier's outputs are saturated (probability 1 for one class), although many are wrong: "
            "check --scale and --output"
        )
    return found


def commonest_mistakes(
    seen: Tensor, labels: Tensor, classes: Sequence[str], most: int = 5
) -> tuple[tuple[int, str, str], ...]:
    """The most common mistakes: count, labelled class, predicted class."""
    wrong = seen != labels
    pairs, counts = torch.stack([labels[wrong], seen[wrong]]).unique(dim=1, return_counts=True)
    order = counts.argsort(descending=True, stable=True)[:most].tolist()
    return tuple((int(counts[at]), classes[int(pairs[0, at])], classes[int(pairs[1, at])]) for at in order)
