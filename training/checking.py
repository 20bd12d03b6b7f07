"""Whether a classifier fits labelled images, and what its input must be: declared, or found by trying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from ..bundles.file import PartEntry
from ..classifiers.foreign.adapted import Adapted, has_gradients
from ..classifiers.foreign.opening import Foreign, describe
from ..classifiers.foreign.preprocessing import Preprocessing, candidates, guess_output
from ..errors import UsageError, first_line, unknown_name
from ..images.sets.image_set import ImageSet
from ..images.sets.labelled import Labelled

SAMPLE = (128, 512)  # labelled images that the classifier is checked with: at least, at most
TRIED = (48, 256)  # of them, for each normalisation
PATIENCE = 20.0  # seconds for each of the two; a slow classifier is asked about fewer images
AT_ONCE = 64  # images in one call
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


class Probe:
    """A foreign classifier being asked about labelled images.

    Args:
        foreign: the classifier.
        sample: labelled images.
        given: fields of `Preprocessing` that the user has said.

    Attributes:
        fields: of its preprocessing, before normalisations are tried: what is said or declared; else that it takes the
            images as they are, in their own channels or, failing that, in three or one.
    """

    def __init__(self, foreign: Foreign, sample: Labelled, given: Mapping[str, Any]) -> None:
        self.foreign = foreign
        self.sample = sample
        self.given = dict(given)
        self.fields = self._first_guess()

    def adapted(self, columns: Sequence[int] | None = None, **more: Any) -> Adapted:
        """The classifier with `fields`, `more` of which are different."""
        preprocessing = Preprocessing(**{**self.fields, **more})
        model, differentiable = self.foreign.model, self.foreign.differentiable
        return Adapted(model, preprocessing, differentiable, columns, fixed_batch=self.foreign.fixed_batch)

    def raw(self, count: int) -> Tensor:
        """What the classifier itself answers to the first images, (count, ...).

        Raises:
            UsageError: it fails.
        """
        adapted, images = self.adapted(), self.sample.floats(slice(0, count))
        try:
            with torch.no_grad():
                return adapted.raw(images)
        except UsageError:
            raise
        except Exception as error:  # a foreign model may fail in any way at a shape that it does not take
            channels, *size = adapted.preprocessing.to_input(images).shape[1:]
            raise UsageError(
                f"classifier {self.foreign.name}: it fails on images of {channels} channels and {size[0]}x{size[1]} "
                f"pixels ({first_line(error)}); say what it takes with --channels and --input-size"
            ) from error

    @cached_property
    def classes(self) -> int:
        """How many classes the classifier tells apart."""
        answer = self.raw(2)
        return max(2, answer.reshape(len(answer), -1).shape[1])  # one number an image tells two apart

    @cached_property
    def seconds_per_image(self) -> float:
        self.raw(8)  # the first call is slower
        start = perf_counter()
        count = len(self.raw(8))
        return (perf_counter() - start) / count

    def affordable(self, limits: tuple[int, int], runs: int = 1) -> Labelled:
        """As many images as it can be asked about `runs` times within `PATIENCE`, within limits."""
        least, most = limits
        return self.sample[: max(least, min(most, int(PATIENCE / (runs * self.seconds_per_image))))]

    def _first_guess(self) -> dict[str, Any]:
        declared = self.foreign.preprocessing
        if declared is not None:
            return vars(declared) | self.given
        own = int(self.sample.images.shape[1])
        if "channels" in self.given:
            return dict(self.given)
        for channels in dict.fromkeys((own, 3, 1)):
            preprocessing = Preprocessing(**{"channels": channels, **self.given})
            try:
                with torch.no_grad():
                    adapted = Adapted(self.foreign.model, preprocessing, fixed_batch=self.foreign.fixed_batch)
                    adapted.raw(self.sample.floats(slice(0, 1)))
            except Exception:  # as in `raw`
                continue
            return {"channels": channels} | self.given
        return {"channels": own} | self.given


@torch.no_grad()
def logits_of(adapted: Adapted, sample: Labelled) -> Tensor:
    """The classifier's answers to labelled images, (N, K)."""
    return torch.cat([adapted(part.floats()) for part in sample.batches(AT_ONCE)])


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
    if "output" not in declared:
        probe.fields["output"] = guess_output(probe.raw(64))
        if probe.fields["output"] != "logits":
            notes.append(f"its answers look like {probe.fields['output']}, and are taken as such (--output)")
    first = probe.adapted(columns)
    tried = candidates(first.preprocessing.channels)
    if first.preprocessing.channels == 3 and "order" not in probe.given:
        tried["bgr"] = {"order": "bgr"}
    others = {name: probe.adapted(columns, **values) for name, values in tried.items()}
    others = {name: other for name, other in others.items() if other.preprocessing != first.preprocessing}
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
