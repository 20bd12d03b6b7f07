"""Loads the engines that a command asks for, with a bundle's models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..bundles.bundle import Bundle
from ..counterfactuals.engine import Engine
from ..counterfactuals.registry import by_rank, load_engine
from ..errors import UsageError


def load_engines(
    names: Sequence[str], bundle: Bundle, confidence: float, *, leave_out: bool, note: Callable[[str], None]
) -> dict[str, Engine]:
    """Load engines with the bundle's models.

    Args:
        names: names of the engines.
        bundle: holds the models.
        confidence: minimum probability of the target in a valid counterfactual.
        leave_out: leave out engines that cannot be loaded, with a note, instead of raising. Used for "all".
        note: called with a sentence for each engine that is left out.

    Returns:
        The engines by name.

    Raises:
        UsageError, BundleError: an engine cannot be loaded, or the bundle has the models of none of them.
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
        raise UsageError(
            f"bundle {bundle.name}: none of the engines can be used; see the notes above, and choose others"
        )
    return engines
