"""The engines that a command asks for, with a bundle's models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..bundles.bundle import Bundle
from ..counterfactuals.engine import Engine
from ..counterfactuals.registry import by_rank, load_engine
from ..errors import UsageError


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
