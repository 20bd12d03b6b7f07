"""Whether a classifier fits labelled images, and what its input must be: declared, or found by trying."""

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

SAMPLE = (128, 512)  # labelled images that the classifier is checked with: at least, at most
TRIED = (48, 256)  # of them, for each normalisation
LEAST_DIFFERENCE = 0.02  # in accuracy, that is worth a change of preprocessing
ADAPTED = "Adapted"  # the architecture of a classifier that the user brought
ELSE = "(anything else)"  # the class that stands for all classes without images


@dataclass(frozen=True)
class Checked:
    """What labelled images say of a classifier, and its entry in bundle.toml, but for the checksums of its files."""

    entry: PartEntry
    accuracy: float
    looked_at: int
    confusions: tuple[tuple[int, str, str], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Matched:
    """The classes of a bundle, and which of the classifier's they are.

    Attributes:
        classes: names, in the order of the bundle's logits.
        columns: the classifier's own classes among them; None where it has no others.
        notes: what was decided.
    """

    classes: tuple[str, ...]
    columns: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Adaptation:
    """A classifier with its preprocessing.

    Attributes:
        classifier: adapted.
        declared: the fields of its preprocessing that are declared.
        notes, warnings: what was guessed, and what looks wrong.
    """

    classifier: Adapted
    declared: tuple[str, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def check(probe: Probe, matched: Matched) -> Checked:
    """Adapt a classifier, ask it about labelled images, and see whether gradients come through."""
    adaptation = adapt(probe, matched.columns)
    adapted, notes, classes = adaptation.classifier, list(adaptation.notes), matched.classes
    sample = probe.affordable(SAMPLE)
    logits = logits_of(adapted, sample)
    seen = logits.argmax(dim=1)
    accuracy = float((seen == sample.labels).float().mean())
    differentiable = probe.foreign.differentiable and has_gradients(adapted, sample.floats(slice(0, 4)))
    if not differentiable:
        notes.append("no gradients come through the classifier: projection and vcnet can explain it, others cannot")
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
        commonest(seen, sample.labels, classes),
        tuple(notes),
        (
            *adaptation.warnings,
            *suspicious(logits, sample.labels, accuracy),
            *other_order(seen, sample.labels, classes, accuracy),
        ),
    )


def match_classes(probe: Probe, images: ImageSet, named: Sequence[str] | None) -> Matched:
    """Names of the classes, and which of the classifier's they are where it has more.

    Args:
        probe: of the classifier.
        images: whose classes they are.
        named: the classes as the user named them, in the order of the logits.

    Raises:
        UsageError: the classifier has other classes than the images, and nothing says which is which.
    """
    foreign, count, names = probe.foreign, probe.classes, images.classes
    if named is not None:
        if len(named) != count:
            raise UsageError(
                f"the classes file names {len(named)} classes and the classifier {foreign.name} has {count}; "
                "give one name for each logit, in their order"
            )
        if names == tuple(named):
            return Matched(names)
        return Matched((*names, ELSE), tuple(named.index(name) for name in names))
    if foreign.classes is not None and len(foreign.classes) == count:
        known = {name.casefold(): place for place, name in enumerate(foreign.classes)}
        unknown = [name for name in names if name.casefold() not in known]
        if unknown:
            if len(names) == count:
                note = "classes are taken in sorted order, for their names are not the classifier's own"
                return Matched(names, notes=(note,))
            raise unknown_name(f"class of {foreign.name}", unknown[0], foreign.classes[:40])
        columns = tuple(known[name.casefold()] for name in names)
        if columns == tuple(range(count)):
            return Matched(names)
        return Matched((*names, ELSE) if len(names) < count else names, columns)
    if len(names) == count:
        note = "classes are taken in sorted order, numbers as numbers; --classes FILE names another"
        return Matched(names, notes=(note,))
    raise UsageError(
        f"the classifier {foreign.name} has {count} classes and the images {len(names)}; "
        "--classes FILE says which is which: one name a line, in the order of the logits"
    )


def adapt(probe: Probe, columns: Sequence[int] | None) -> Adaptation:
    """The classifier with its preprocessing: declared where it is, else guessed; the guess is what errs least."""
    declared = (*dict.fromkeys((*probe.foreign.declared, *probe.given)),)
    notes: list[str] = []
    preprocessing = probe.preprocessing
    if "output" not in declared:
        preprocessing = replace(preprocessing, output=guess_output(probe.raw(64)))
        if preprocessing.output != "logits":
            notes.append(f"its answers look like {preprocessing.output}, and are taken as such (--output)")
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
        says = f"{rates[best]:.1%} right with the normalisation {best!r}, {as_declared:.1%}"
        if known:
            return Adaptation(first, declared, (*notes,), (f"{says} as declared: is the declaration right?",))
        notes.append(f"{says} without; it is used, --mean and --std say otherwise")
        return Adaptation(others[best], declared, (*notes,))
    if not known:
        notes.append(f"no normalisation of the input does better than none ({as_declared:.1%} right)")
    return Adaptation(first, declared, (*notes,))


def right(adapted: Adapted, sample: Labelled) -> float:
    """Share of right answers; 0 where the model answers NaN."""
    logits = logits_of(adapted, sample)
    if not torch.isfinite(logits).all():
        return 0.0
    return float((logits.argmax(dim=1) == sample.labels).float().mean())


def other_order(seen: Tensor, labels: Tensor, classes: Sequence[str], accuracy: float) -> list[str]:
    """A warning where numbered classes fit better as torchvision's ImageFolder sorts them: 0, 1, 10, 11, 2, ..."""
    if not all(name.isdecimal() for name in classes):
        return []
    as_text = sorted(classes)
    place = torch.tensor([as_text.index(name) for name in classes])
    rate = float((seen == place[labels]).float().mean())
    if rate <= accuracy + by_chance(accuracy, len(labels)):
        return []
    return [
        f"{rate:.1%} right, instead of {accuracy:.1%}, if its classes are in the order of ImageFolder ("
        f"{', '.join(as_text[:4])}, ...): say so with --classes FILE, one name a line"
    ]


def by_chance(share: float, count: int) -> float:
    """By how much a share of `count` images may be exceeded by chance: three standard errors, and 2 %."""
    return max(LEAST_DIFFERENCE, 3 * (share * (1 - share) / count) ** 0.5)


def suspicious(logits: Tensor, labels: Tensor, accuracy: float) -> list[str]:
    """What in a classifier's answers (N, K) to labelled images looks like wrong preprocessing."""
    if not torch.isfinite(logits).all():
        return ["some of its answers are NaN or infinite: is the preprocessing right?"]
    found = []
    commonest_class = float(labels.bincount().max()) / len(labels)
    if accuracy <= commonest_class + by_chance(commonest_class, len(labels)):
        found.append(
            f"{accuracy:.1%} right is no better than always naming the commonest class ({commonest_class:.1%}): "
            "the preprocessing or the order of the classes is wrong, or it was never trained"
        )
    probabilities = logits.softmax(dim=1)
    if len(logits) > 1 and float((probabilities - probabilities[:1]).abs().max()) < 1e-3:
        found.append("it answers the same to every image: is the scale of the input right (--scale 255)?")
    elif float(probabilities.amax(dim=1).median()) > 1 - 1e-6 and accuracy < 0.9:
        found.append("its answers are saturated (probability 1 for one class), though many are wrong")
    return found


def commonest(seen: Tensor, labels: Tensor, classes: Sequence[str], most: int = 5) -> tuple[tuple[int, str, str], ...]:
    """The commonest mistakes: how often, what it is, what is seen."""
    wrong = seen != labels
    pairs, counts = torch.stack([labels[wrong], seen[wrong]]).unique(dim=1, return_counts=True)
    order = counts.argsort(descending=True, stable=True)[:most].tolist()
    return tuple((int(counts[at]), classes[int(pairs[0, at])], classes[int(pairs[1, at])]) for at in order)
