"""Loads the engines that were asked for, with a bundle's models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..bundles.bundle import Bundle
from ..errors import BundleError, UsageError
from .engine import TAKES_NO_TARGET, Engine
from .registry import EngineChoice, by_rank, load_engine
from .settings import parse_settings


class EngineLoader:
    """The classes of engines, and the values of their settings. Making it loads no model.

    Args:
        choice: names and settings; engines that cannot be imported are left out if every engine was asked for.
        note: called with a sentence for each engine that is left out.

    Raises:
        UsageError: an engine cannot be imported, or has no such setting, or it cannot have this value.
    """

    def __init__(self, choice: EngineChoice, note: Callable[[str], None]) -> None:
        self.choice = choice
        self.note = note
        self.values = {name: parse_settings(load_engine(name), texts) for name, texts in choice.settings.items()}

    def load(
        self,
        bundle: Bundle,
        confidence: float,
        default: Sequence[str] = (),
        *,
        certain: bool = False,
        candidates: bool = False,
    ) -> dict[str, Engine]:
        """The engines by name, with the bundle's models.

        Args:
            bundle: holds the models.
            confidence: minimum probability of the target in a valid counterfactual.
            certain: whether engines that answer with any class can be used.
            candidates: load only engines that may become that of a bundle; nothing is said of the others.
            default: the names of the engines to load if the choice has none.

        Raises:
            UsageError, BundleError: an engine cannot be loaded, or the bundle has the models of none of them.
        """
        choice = self.choice
        kinds = self._kinds(choice.names or default)
        for name in self.values:
            if name not in kinds:
                raise UsageError(
                    f"--set {name}.{next(iter(self.values[name]))}: bundle {bundle.name} is answered by "
                    f"{', '.join(kinds)}; add --engine {name}"
                )
        engines: dict[str, Engine] = {}
        for name in by_rank(kinds) if choice.every else kinds:
            kind, models = kinds[name], bundle.models
            if candidates and not kind.candidate:
                continue
            if kind.any_class and not certain:
                if choice.every:
                    self.note(f"engine {name} is left out: {TAKES_NO_TARGET}")
                    continue
                raise UsageError(
                    f"engine {name}: {TAKES_NO_TARGET}; choose another engine, or cfx explain --goal certain"
                )
            missing = [part for part in kind.needs if not models.has(part)]
            if missing and choice.every:
                self.note(f"engine {name} is left out: bundle {bundle.name} has no {', '.join(missing)}")
                continue
            if kind.gradients and not models.differentiable and choice.every:
                self.note(f"engine {name} is left out: it needs gradients of the classifier, which is a black box")
                continue
            try:
                engines[name] = kind.from_models(models, confidence=confidence, **self.values.get(name, {}))
            except BundleError as error:
                if not choice.every:
                    raise
                self.note(f"engine {name} is left out: {error}")
        if not engines:
            raise UsageError(
                f"bundle {bundle.name}: none of the engines can be used; see the notes above, and choose others"
            )
        return engines

    def _kinds(self, names: Sequence[str]) -> dict[str, type[Engine]]:
        kinds: dict[str, type[Engine]] = {}
        for name in names:
            try:
                kinds[name] = load_engine(name)
            except UsageError as error:
                if not self.choice.every:
                    raise
                self.note(f"{error}; it is left out")
        return kinds
