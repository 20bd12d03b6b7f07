"""Whether a classifier matches labelled images, and its preprocessing: as declared, or found by trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..bundles.entries import PartEntry
from ..bundles.notes import saturated_note
from ..classifiers.foreign.adapted import Adapted, has_gradients, usable_gradients
from ..classifiers.foreign.opening import describe
from ..classifiers.foreign.outputs import LOGITS_OF
from ..classifiers.foreign.preprocessing import Preprocessing
from .adapting import TRIED_BRIEFLY, Adaptation, adapt
from .calibration import calibration_notes
from .class_matching import Matched, best_order
from .likelihood import by_chance
from .probe import Probe, logits_of

SAMPLE = (128, 512)  # labelled images on which the classifier is checked: at least, at most
LEAST_OF_CLASS = 5  # images of a class in the sample, from which on it is remarkable that it is never predicted
ADAPTED = "Adapted"  # the architecture of a user's classifier
LOOKED_AT_FOR_GRADIENTS = 32  # images
SATURATING = frozenset(output for output, _ in LOGITS_OF)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A classifier's results on labelled images, and its entry in bundle.toml, still without checksums of its files.

    `tied` are the preprocessings between which the images do not decide.
    """

    entry: PartEntry
    classifier: Adapted
    accuracy: float
    looked_at: int
    confusions: tuple[tuple[int, str, str], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    tied: tuple[Preprocessing, ...] = ()


def check(probe: Probe, matched: Matched, *, brief: bool = False) -> Checked:
    """Adapt a classifier, run it on labelled images, and check whether it has gradients.

    Args:
        probe: the classifier and the images.
        matched: which of its classes the images' classes are.
        brief: for a classifier that is not kept: take for granted what is declared, instead of comparing it with other
            preprocessings, and look at fewer images if the classifier is slow.
    """
    adaptation = adapt(probe, matched, brief=brief)
    adapted, notes, classes = adaptation.classifier, [*probe.notes, *adaptation.notes], matched.classes
    sample = probe.affordable((TRIED_BRIEFLY[0], SAMPLE[1]) if brief else SAMPLE)
    logits, labels = logits_of(adapted, sample), matched.labelling.classes_of(sample.labels)
    seen = logits.argmax(dim=1)
    accuracy = float((seen == labels).float().mean())
    differentiable = probe.foreign.differentiable and has_gradients(adapted, sample.floats(slice(0, 4)))
    if not differentiable:
        notes.append(
            "the classifier has no gradients: engines that need them, such as latent and diffeo, cannot explain it"
        )
    saturated = 0.0
    if differentiable and adapted.preprocessing.output in SATURATING:
        gradients = usable_gradients(adapted, sample.floats(slice(0, LOOKED_AT_FOR_GRADIENTS)))
        saturated = 1 - float(gradients.float().mean())
    if saturated:
        notes.append(saturated_note(saturated))
    warnings = [] if matched.columns is not None else other_order(seen, labels, classes, accuracy)
    if not warnings:  # otherwise the order of the classes explains what looks wrong
        warnings = [*suspicious(logits, labels, accuracy), *never_predicted(seen, labels, classes)]
    if not warnings:
        notes += calibration_notes(logits, labels)
    measured = {"test_accuracy": round(accuracy, 5), "images": len(sample)}
    return Checked(
        entry=entry_of(
            probe,
            adaptation,
            matched,
            differentiable=differentiable,
            saturated=saturated,
            channels_last=not brief and probe.prefers_channels_last(adapted),
            measured=measured,
        ),
        classifier=adapted,
        accuracy=accuracy,
        looked_at=len(sample),
        confusions=commonest_mistakes(seen, labels, classes),
        notes=tuple(notes),
        warnings=(*adaptation.warnings, *warnings),
        tied=adaptation.tied,
    )


def entry_of(
    probe: Probe,
    adaptation: Adaptation,
    matched: Matched,
    *,
    differentiable: bool,
    saturated: float = 0.0,
    channels_last: bool = False,
    measured: Mapping[str, float] | None = None,
) -> PartEntry:
    """A classifier's entry in bundle.toml."""
    foreign = replace(
        describe(probe.foreign),
        declared=adaptation.declared,
        preprocessing=adaptation.classifier.preprocessing,
        least_batch=probe.least_batch,
        differentiable=differentiable,
        saturated=round(saturated, 3),
        channels_last=channels_last,
        columns=matched.columns,
        among=matched.among,
        classes=None if matched.columns is None or matched.among else matched.classes,
    )
    return PartEntry(architecture=ADAPTED, file=foreign.file, measured=measured or {}, foreign=foreign)


def other_order(seen: Tensor, labels: Tensor, classes: Sequence[str], accuracy: float) -> list[str]:
    """A warning if the classes match better in another order.

    Numbered classes may be in the order of torchvision's ImageFolder: 0, 1, 10, 11, 2, ... Otherwise the order is the
    one that the predictions suggest, which must be clearly better than chance.
    """
    count = len(labels)
    chance = float(labels.bincount().max()) / count
    least = max(accuracy + by_chance(accuracy, count), chance + by_chance(chance, count))
    if all(name.isdecimal() for name in classes):
        as_text = sorted(classes)
        place = torch.tensor([as_text.index(name) for name in classes])
        rate = float((seen == place[labels]).float().mean())
        if rate > least:
            return [
                f"{rate:.1%} right, instead of {accuracy:.1%}, if the classes are in the order of ImageFolder ("
                f"{', '.join(as_text[:4])}, ...): give that order with --classes FILE, one name per line"
            ]
    rate, order = best_order(seen, labels, len(classes))
    if order is None or rate <= least:
        return []
    suggested = ", ".join([classes[label] for label in order][:10]) + (", ..." if len(order) > 10 else "")
    return [
        f"{rate:.1%} right, instead of {accuracy:.1%}, if the classes are {suggested}: "
        "give that order with --classes FILE, one name per line"
    ]


def never_predicted(seen: Tensor, labels: Tensor, classes: Sequence[str]) -> list[str]:
    """A warning about classes with images in the sample that the classifier never predicts."""
    counts = labels.bincount(minlength=len(classes))
    never = [
        f"{classes[label]!r} ({int(counts[label])} images)"
        for label in (counts >= LEAST_OF_CLASS).nonzero().flatten().tolist()
        if not bool((seen == label).any())
    ]
    if not never:
        return []
    which = f"a class is never predicted: {never[0]}" if len(never) == 1 else f"never predicted: {', '.join(never[:5])}"
    return [f"{which}; are the names and the order of the classes right?"]


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
