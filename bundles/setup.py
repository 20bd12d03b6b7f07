"""The first step with a classifier of one's own: does it fit the images, and what does it take to make it fit?"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from ..classifiers.adapted import Adapted, has_gradients
from ..classifiers.preprocessing import Preprocessing, candidates, guess_output
from ..classifiers.sources import Foreign, describe, open_classifier, trust
from ..data.datasets import Labelled
from ..data.errors import BundleError, DataError, UsageError, unknown_name
from ..data.files import write_bytes
from ..data.sources import ImageSet, looks_light_on_dark, open_images, read_classes, split_by_class
from .bundle import SCHEMA, Bundle, write_description

LARGEST_DIRECT = 128  # pixels; larger images are worked on in a smaller size
WORKING = 64  # pixels of the longer side of that size, unless the user says
LARGEST_SIDE = 256  # pixels of images whose classifier takes any size
MOST_CLASSES = 60  # beyond which classes without images are put together
SAMPLE = (128, 512)  # labelled images that the classifier is checked with: at least, at most
TRIED = (48, 256)  # of them, for each normalisation
PATIENCE = 20.0  # seconds for each of the two; a slow classifier is asked about fewer images
LEAST_DIFFERENCE = 0.02  # in accuracy, that is worth a change of preprocessing
ELSE = "(anything else)"  # the class that stands for all classes without images


@dataclass(frozen=True)
class Wish:
    """What the user said of a classifier and images; None where it is left to be found out.

    Attributes:
        images: as `open_images` takes it.
        classifier: as `open_classifier` takes it; None to have cfx train one.
        weights: a file, for a classifier that is code.
        classes: a file of class names in the order of the logits.
        root: where torchvision's data sets lie.
        preprocessing: fields of `Preprocessing`.
        size: (H, W) of the images.
        working: pixels of the longer side that models work in.
        fit: "pad", "crop" or "stretch".
        flip: whether left and right do not matter to the class.
    """

    images: str
    classifier: str | None = None
    weights: Path | None = None
    classes: Path | None = None
    root: Path | None = None
    preprocessing: dict[str, Any] | None = None
    size: tuple[int, int] | None = None
    working: int | None = None
    fit: str | None = None
    flip: bool = False


@dataclass(frozen=True)
class Checked:
    """What `set_up` found out and wrote down.

    Attributes:
        directory: of the bundle.
        description: of bundle.toml.
        images: the image set.
        accuracy: share of `looked_at` images that the classifier names as they are labelled; None without one.
        looked_at: labelled images that it was asked about.
        confusions: (count, labelled, seen) of the commonest mistakes.
        notes: what was decided, and what had to be left out.
        warnings: what looks wrong.
    """

    directory: Path
    description: dict[str, Any]
    images: ImageSet
    accuracy: float | None
    looked_at: int
    confusions: tuple[tuple[int, str, str], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def set_up(directory: Path, wish: Wish) -> Checked:
    """Look at classifier and images, check that they fit, and write bundle.toml and the classifier into `directory`.

    Raises:
        UsageError, DataError, BundleError: one cannot be had, or they do not fit; nothing is written then.
    """
    _must_be_free(directory)
    notes: list[str] = []
    warnings: list[str] = []
    names = None if wish.classes is None else read_classes(wish.classes)
    foreign = None if wish.classifier is None else open_classifier(wish.classifier, wish.weights)
    source: dict[str, Any] = {"source": _absolute(wish.images)}
    if wish.root is not None:
        source["root"] = str(wish.root.resolve())
    if names is not None:
        source["classes"] = names
    images = own_images(source)
    survey = images.survey()
    shape, working, fit = sizes(wish, foreign, survey.size, survey.channels, notes)
    if survey.broken:
        warnings.append(f"{len(survey.broken)} of {survey.looked_at} images looked at are broken: {survey.broken[0]}")
    parts = split_by_class(images.labels, images.splits, classes=len(images.classes))
    looked_at = torch.cat([parts["test"], parts["held_out"], parts["judge_held_out"], parts["fit"]])[: SAMPLE[1]]
    sample = images.load(looked_at, shape, fit=fit).data
    light_on_dark = looks_light_on_dark(sample)
    classes, present, entry, accuracy, confusions = list(images.classes), images.counts() > 0, None, None, ()
    if foreign is not None:
        fields = _first_guess(foreign, sample) | (wish.preprocessing or {})
        sample = sample[: affordable(foreign, fields, sample, SAMPLE)]
        classes, columns = match_classes(foreign, images, names, sample, wish.preprocessing, notes)
        adapted, declared = adapt(foreign, sample, columns, wish.preprocessing or {}, notes, warnings)
        with torch.no_grad():
            logits = torch.cat([adapted(part) for part in sample.floats().split(64)])
        accuracy = float((logits.argmax(dim=1) == sample.labels).float().mean())
        confusions = commonest(logits.argmax(dim=1), sample.labels, classes)
        warnings += suspicious(logits, sample.labels, accuracy)
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
    too_few = [images.classes[label] for label in parts["too_few"] if present[label]]
    missing = [name for name, there in zip(images.classes, present.tolist(), strict=True) if not there]
    if too_few:
        warnings.append(f"too few images to learn from, fewer than 8, so no target: {few(too_few)}")
    if missing:
        warnings.append(f"no images, so no target: {few(missing)}")
    wanted = [label for label in range(len(images.classes)) if label not in parts["too_few"]]
    description: dict[str, Any] = {
        "schema": SCHEMA,
        "name": directory.resolve().name,
        "classes": classes,
        "shape": list(shape),
        "light_on_dark": light_on_dark,
        "recipe": "cfx train DIR",
    }
    if working != shape[1:]:
        description["working"] = list(working)
    if fit != "pad":
        description["fit"] = fit
    if len(wanted) < len(classes):
        description["present"] = wanted
    description["images"] = {**source, "flip": wish.flip, "count": len(images)}
    description["parts"] = {} if entry is None else {"classifier": {"architecture": "Adapted", **entry}}
    write(directory, description, foreign)
    if foreign is not None and foreign.kind == "factory":
        trust(directory, foreign.name)
    return Checked(directory, description, images, accuracy, len(sample), confusions, tuple(notes), tuple(warnings))


def own_images(source: Mapping[str, Any]) -> ImageSet:
    """The images that `bundle.toml` names; of very many classes only those that have some.

    Raises:
        DataError, UsageError: as `open_images`.
    """
    root = source.get("root")
    images = open_images(source["source"], root=None if root is None else Path(root), classes=source.get("classes"))
    used = images.counts().nonzero().flatten()
    if len(used) == len(images.classes) or len(images.classes) <= MOST_CLASSES:
        return images
    place = torch.full((len(images.classes),), -1)
    place[used] = torch.arange(len(used))
    return replace(images, classes=tuple(images.classes[label] for label in used.tolist()), labels=place[images.labels])


def images_for_testing(bundle: Bundle) -> Labelled | None:
    """The images of the user's own set that nothing in a bundle was fitted to; None where it names no images.

    Raises:
        DataError, UsageError: as `open_images` and `ImageSet.load`.
    """
    source = bundle.description.get("images")
    if source is None:
        return None
    images = own_images(source)
    parts = split_by_class(images.labels, images.splits, classes=len(images.classes))
    return images.load(parts["test"], bundle.shape, fit=bundle.fit).data


def sizes(
    wish: Wish, foreign: Foreign | None, found: tuple[int, int], channels: int, notes: list[str]
) -> tuple[tuple[int, int, int], tuple[int, int], str]:
    """The shape (C, H, W) that images are read in, the size that models work in, and how images are made to fit."""
    said = foreign.preprocessing if foreign is not None else None
    declared = foreign.declared if foreign is not None else ()
    takes = (wish.preprocessing or {}).get("channels") or (said.channels if said and "channels" in declared else None)
    if takes == 1 and channels == 3:
        notes.append("the images are in colour and the classifier takes grey: they are read as grey")
        channels = 1
    elif takes == 3 and channels == 1:
        notes.append("the images are grey and the classifier takes colour: each is given three times")
    if wish.size is not None:
        size = wish.size
    elif max(found) <= LARGEST_DIRECT:
        size = found
    elif said is not None and said.size is not None:
        size = said.size
    else:
        scale = min(1.0, LARGEST_SIDE / max(found))
        size = (round(found[0] * scale), round(found[1] * scale))
    longest = wish.working or (max(size) if max(size) <= LARGEST_DIRECT else WORKING)
    if longest < 8:
        raise UsageError(f"--working {longest}: too small to draw anything in; choose at least 8 pixels")
    scale = min(1.0, longest / max(size))
    working = (max(4, round(size[0] * scale)), max(4, round(size[1] * scale)))
    if working != size:
        notes.append(
            f"models work in {working[0]}x{working[1]}, and changes are carried back to {size[0]}x{size[1]} "
            "and to the original photo"
        )
    proportions = abs(found[0] / found[1] - size[0] / size[1]) < 0.02
    fit = wish.fit or ("pad" if proportions or max(size) <= LARGEST_DIRECT else "crop")
    return (channels, *size), working, fit


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
        notes.append("classes are taken in sorted order, as torchvision's ImageFolder does; --classes names another")
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


def few(names: Sequence[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _absolute(images: str) -> str:
    path = Path(images).expanduser()
    return str(path.resolve()) if path.exists() else images


def _must_be_free(directory: Path) -> None:
    if (directory / "bundle.toml").exists():
        raise BundleError(f"{directory}: holds a bundle already; remove it or choose another directory")
    if directory.exists() and not directory.is_dir():
        raise BundleError(f"{directory}: is a file; choose a directory for the bundle")


def write(directory: Path, description: dict[str, Any], foreign: Foreign | None) -> None:
    """The classifier's files and, last, bundle.toml.

    Raises:
        DataError: the disk has no room for them.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(directory).free
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BundleError(f"{directory}: cannot be written to ({reason}); choose another directory") from error
    files = foreign.files if foreign is not None else {}
    needed = sum(len(c) if isinstance(c, bytes) else c.stat().st_size for c in files.values())
    if free < 2 * needed:
        raise DataError(f"{directory}: the classifier needs {needed // 2**20} MB, and {free // 2**20} are free there")
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.read_bytes()
        write_bytes(directory / name, data)
        entry = description["parts"]["classifier"]
        if name == entry["file"]:
            entry["sha256"] = hashlib.sha256(data).hexdigest()
    write_description(directory, description)
