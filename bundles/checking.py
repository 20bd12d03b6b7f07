"""Whether a classifier fits labelled images, and what its input must be: declared, or found by trying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from ..classifiers.adapted import Adapted, has_gradients
from ..classifiers.preprocessing import Preprocessing, candidates, guess_output
from ..classifiers.sources import Foreign, describe
from ..data.datasets import Labelled
from ..data.errors import UsageError, unknown_name
from ..data.sources import ImageSet

SAMPLE = (128, 512)  # labelled images that the classifier is checked with: at least, at most
TRIED = (48, 256)  # of them, for each normalisation
PATIENCE = 20.0  # seconds for each of the two; a slow classifier is asked about fewer images
LEAST_DIFFERENCE = 0.02  # in accuracy, that is worth a change of preprocessing
ELSE = "(anything else)"  # the class that stands for all classes without images


@dataclass(frozen=True)
class Verdict:
    """What labelled images say of a classifier, and its entry in bundle.toml."""

    entry: dict[str, Any]
    accuracy: float
    looked_at: int
    confusions: tuple[tuple[int, str, str], ...]


def check(
    foreign: Foreign,
    columns: list[int] | None,
    classes: Sequence[str],
    sample: Labelled,
    given: dict[str, Any],
    notes: list[str],
    warnings: list[str],
) -> Verdict:
    """Adapt a classifier, ask it about labelled images, and see whether gradients come through."""
    sample = sample[: affordable(foreign, _first_guess(foreign, sample) | given, sample, SAMPLE)]
    adapted, declared = adapt(foreign, sample, columns, given, notes, warnings)
    with torch.no_grad():
        logits = torch.cat([adapted(part) for part in sample.floats().split(64)])
    seen = logits.argmax(dim=1)
    accuracy = float((seen == sample.labels).float().mean())
    warnings += suspicious(logits, sample.labels, accuracy)
    warnings += other_order(seen, sample.labels, classes, accuracy)
    differentiable = foreign.differentiable and has_gradients(adapted, sample.floats(slice(0, 4)))
    if not differentiable:
        notes.append("no gradients come through the classifier: projection and vcnet can explain it, others cannot")
    entry = describe(foreign) | {
        "declared": list(declared),
        "preprocessing": adapted.preprocessing.as_dict(),
        "differentiable": differentiable,
        "measured": {"test_accuracy": round(accuracy, 5), "images": len(sample)},
    }
    if columns is not None:
        entry["columns"] = columns
    return Verdict(entry, accuracy, len(sample), commonest(seen, sample.labels, classes))


def match_classes(
    foreign: Foreign,
    images: ImageSet,
    named: list[str] | None,
    sample: Labelled,
    given: dict[str, Any] | None,
    notes: list[str],
) -> tuple[list[str], list[int] | None]:
    """Names of the classes, and which of the classifier's they are where it has more.

    Args:
        named: the classes as the user named them, in the order of the logits.

    Raises:
        UsageError: the classifier has other classes than the images, and nothing says which is which.
    """
    count = classes_of(foreign, sample, given)
    names = list(images.classes)
    if named is not None:
        if len(named) != count:
            raise UsageError(
                f"the classes file names {len(named)} classes and the classifier {foreign.name} has {count}; "
                "give one name for each logit, in their order"
            )
        return (names, None) if names == named else ([*names, ELSE], [named.index(name) for name in names])
    if foreign.classes is not None and len(foreign.classes) == count:
        known = {name.casefold(): place for place, name in enumerate(foreign.classes)}
        unknown = [name for name in names if name.casefold() not in known]
        if unknown:
            if len(names) == count:
                notes.append("classes are taken in sorted order, for their names are not the classifier's own")
                return names, None
            raise unknown_name(f"class of {foreign.name}", unknown[0], foreign.classes[:40])
        columns = [known[name.casefold()] for name in names]
        if columns == list(range(count)):
            return names, None
        return ([*names, ELSE] if len(names) < count else names), columns
    if len(names) == count:
        notes.append("classes are taken in sorted order, numbers as numbers; --classes FILE names another")
        return names, None
    raise UsageError(
        f"the classifier {foreign.name} has {count} classes and the images {len(names)}; "
        "--classes FILE says which is which: one name a line, in the order of the logits"
    )


def classes_of(foreign: Foreign, sample: Labelled, given: dict[str, Any] | None) -> int:
    """How many classes the classifier tells apart, by asking it about two images."""
    fields = _first_guess(foreign, sample) | (given or {})
    adapted = Adapted(foreign.model, Preprocessing(**fields), False, fixed_batch=foreign.fixed_batch)
    raw = _asked(adapted, foreign, sample.floats(slice(0, 2)))
    count = raw.reshape(len(raw), -1).shape[1]
    return 2 if count == 1 else count


def _first_guess(foreign: Foreign, sample: Labelled) -> dict[str, Any]:
    """What is declared; else that it takes the images as they are, in their own channels or, failing that, in three."""
    if foreign.preprocessing is not None:
        return {name: getattr(foreign.preprocessing, name) for name in foreign.preprocessing.__dataclass_fields__}
    for channels in dict.fromkeys((sample.images.shape[1], 3, 1)):
        try:
            with torch.no_grad():
                adapted = Adapted(foreign.model, Preprocessing(channels), False, fixed_batch=foreign.fixed_batch)
                adapted.raw(sample.floats(slice(0, 1)))
        except Exception:  # a foreign model may fail in any way at a shape that it does not take
            continue
        return {"channels": channels}
    return {"channels": int(sample.images.shape[1])}


def _asked(adapted: Adapted, foreign: Foreign, images: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            return adapted.raw(images)
    except UsageError:
        raise
    except Exception as error:  # as above
        channels, *size = adapted.preprocessing.to_input(images).shape[1:]
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"classifier {foreign.name}: it fails on images of {channels} channels and {size[0]}x{size[1]} pixels "
            f"({reason}); say what it takes with --channels and --input-size"
        ) from error


def adapt(
    foreign: Foreign,
    sample: Labelled,
    columns: list[int] | None,
    given: dict[str, Any],
    notes: list[str],
    warnings: list[str],
) -> tuple[Adapted, list[str]]:
    """The classifier with its preprocessing: declared where it is, else guessed; the guess is what errs least.

    Returns:
        The adapted classifier, and the fields of its preprocessing that are declared.
    """
    fields = _first_guess(foreign, sample) | given
    sample = sample[: affordable(foreign, fields, sample, TRIED, runs=len(candidates(fields["channels"])) + 1)]
    declared = [*dict.fromkeys((*foreign.declared, *given))]

    def with_fields(**more: Any) -> Adapted:
        preprocessing = Preprocessing(**{**fields, **more})
        return Adapted(foreign.model, preprocessing, foreign.differentiable, columns, fixed_batch=foreign.fixed_batch)

    if "output" not in declared:
        raw = _asked(with_fields(), foreign, sample.floats(slice(0, 64)))
        fields["output"] = guess_output(raw)
        if fields["output"] != "logits":
            notes.append(f"its answers look like {fields['output']}, and are taken as such (--output)")
    rates = {"as declared": right(with_fields(), sample)}
    tried = {name: values for name, values in candidates(fields["channels"]).items() if not _same(values, fields)}
    for name, values in tried.items():
        rates[name] = right(with_fields(**values), sample)
    if fields["channels"] == 3 and "order" not in given:
        rates["bgr"] = right(with_fields(order="bgr"), sample)
        tried["bgr"] = {"order": "bgr"}
    best = max(rates, key=lambda name: rates[name])
    known = bool({"mean", "std", "scale"} & set(declared))
    if rates[best] > rates["as declared"] + by_chance(rates["as declared"], len(sample)):
        says = f"{rates[best]:.1%} right with the normalisation {best!r}, {rates['as declared']:.1%}"
        if known:
            warnings.append(f"{says} as declared: is the declaration right?")
        else:
            fields |= tried[best]
            notes.append(f"{says} without; it is used, --mean and --std say otherwise")
    elif not known:
        notes.append(f"no normalisation of the input does better than none ({rates['as declared']:.1%} right)")
    return with_fields(), declared


def affordable(
    foreign: Foreign, fields: dict[str, Any], sample: Labelled, limits: tuple[int, int], runs: int = 1
) -> int:
    """How many images the classifier can be asked about `runs` times within `PATIENCE`, within limits."""
    adapted = Adapted(foreign.model, Preprocessing(**fields), False, fixed_batch=foreign.fixed_batch)
    images = sample.floats(slice(0, 8))
    _asked(adapted, foreign, images)  # the first call is slower
    start = perf_counter()
    _asked(adapted, foreign, images)
    per_image = (perf_counter() - start) / len(images)
    return max(limits[0], min(limits[1], int(PATIENCE / (runs * per_image))))


def _same(values: dict[str, Any], fields: dict[str, Any]) -> bool:
    defaults = {"scale": 1.0, "mean": (0.0,), "std": (1.0,)}
    return all(tuple_of(fields.get(name, default)) == tuple_of(values[name]) for name, default in defaults.items())


def tuple_of(value: Any) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (float(value),)


@torch.no_grad()
def right(adapted: Adapted, sample: Labelled) -> float:
    """Share of right answers; 0 where the model answers NaN."""
    logits = torch.cat([adapted(part) for part in sample.floats().split(64)])
    if not torch.isfinite(logits).all():
        return 0.0
    return float((logits.argmax(dim=1) == sample.labels[: len(logits)]).float().mean())


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
