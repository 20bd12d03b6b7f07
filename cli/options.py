"""What the words on a command line mean: engines, formats, devices, classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..counterfactuals.registry import by_rank, engine_names, load_engine
from ..errors import UsageError, unknown_name

if TYPE_CHECKING:
    from ..bundles.bundle import Bundle
    from ..counterfactuals.engine import Engine

FORMATS = ("text", "json")
TABLE_FORMATS = ("table", "json", "csv", "markdown")
DEVICES = ("auto", "cpu", "cuda", "mps")


def check_choice(kind: str, value: str, known: Sequence[str]) -> None:
    """Raises UsageError, which names the known ones, unless `value` is one of them."""
    if value not in known:
        raise unknown_name(kind, value, known)


def chosen_engines(wanted: str) -> list[str]:
    """The names in "latent,vcnet", or every engine's for "all".

    Raises:
        UsageError: one of them is unknown.
    """
    known = engine_names()
    names = [name for name in dict.fromkeys(part.strip() for part in wanted.split(",")) if name]
    if "all" in names:
        return known
    for name in names or [wanted]:
        if name not in known:
            raise unknown_name("engine", name, [*known, "all"])
    return names


def load_engines(
    names: Sequence[str], bundle: Bundle, confidence: float, *, leave_out: bool, note: Callable[[str], None]
) -> dict[str, Engine]:
    """The engines with the bundle's models, by name.

    Args:
        names: which.
        bundle: brings the models.
        confidence: least probability of the target.
        leave_out: note and leave out what cannot be loaded, as for "all", instead of raising.
        note: told of what is left out.

    Raises:
        UsageError, BundleError: one cannot be loaded, or the bundle has the models of none.
    """
    kinds: dict[str, type[Engine]] = {}
    for name in names:
        try:
            kinds[name] = load_engine(name)
        except UsageError as error:
            if not leave_out:
                raise
            note(f"{error}; it is left out")
    engines: dict[str, Engine] = {}
    for name in by_rank(kinds) if leave_out else kinds:
        kind, models = kinds[name], bundle.models
        missing = [part for part in kind.needs if not models.has(part)]
        if missing and leave_out:
            note(f"engine {name} is left out: bundle {bundle.name} has no {', '.join(missing)}")
            continue
        if kind.gradients and not models.differentiable and leave_out:
            note(f"engine {name} is left out: it needs gradients of the classifier, which is a black box")
            continue
        engines[name] = kind.from_models(models, confidence=confidence)
    if not engines:
        raise UsageError(f"bundle {bundle.name}: it has the models of no engine; `cfx train` makes them")
    return engines


def pick_device(wanted: str) -> str:
    """The device to use; `auto` takes cuda, else mps, else cpu.

    Raises:
        UsageError: the device is not to be had here.
    """
    import torch

    available = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
    if wanted == "auto":
        return next(name for name, there in available.items() if there())
    if not available[wanted]():
        raise UsageError(f"device {wanted}: not available on this machine; use --device auto or cpu")
    return wanted


def class_index(wanted: str, bundle: Bundle) -> int | None:
    """The class of this name, else of this index; None for `auto`.

    Raises:
        UsageError: there is no such class, or none that the bundle's models have seen images of.
    """
    classes = bundle.classes
    if wanted in classes:
        index = classes.index(wanted)
    elif wanted == "auto":
        return None
    elif wanted.isdecimal() and int(wanted) < len(classes):
        index = int(wanted)
    else:
        raise unknown_name("class", wanted, [*classes, "auto"])
    if index not in bundle.present:
        known = ", ".join(classes[label] for label in bundle.present)
        raise UsageError(
            f"class {classes[index]!r}: bundle {bundle.name} was trained without images of it and cannot draw it; "
            f"targets are {known}"
        )
    return index
