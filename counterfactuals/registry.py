"""Finds engines by name through the entry-point group `cfx.engines`, so that other packages can add engines."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from ..errors import UsageError, unknown_name

if TYPE_CHECKING:
    from .engine import Engine

GROUP = "cfx.engines"
DEFAULT_ENGINE = "vcnet"
CONTROL = "pixel"
"""The control engine, whose results are not counterfactuals. It is labelled wherever engines are compared."""


def engine_names() -> list[str]:
    """The names of all installed engines in alphabetical order, without importing any engine."""
    return sorted(_entries())


def by_rank(engines: Mapping[str, type[Engine]]) -> list[str]:
    """The names of loaded engines in display order: by rank, then by name."""
    return sorted(engines, key=lambda name: (engines[name].rank, name))


def plugin_of(name: str) -> str | None:
    """Name and version of the package that an engine comes from; None if that is cfx."""
    entry = _entries()[name]
    if entry.value.startswith("cfx."):
        return None
    return "unknown" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def load_engine(name: str) -> type[Engine]:
    """Imports the class of an engine.

    Raises:
        UsageError: no engine has this name (the nearest is suggested), or its package cannot be imported.
    """
    found = _entries()
    if name not in found:
        raise unknown_name("engine", name, found)
    entry = found[name]
    from .engine import Engine

    try:
        engine = entry.load()
    except Exception as error:  # another package's module may fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"engine {name!r}: {entry.value} cannot be imported ({reason}); reinstall it") from error
    if not (isinstance(engine, type) and issubclass(engine, Engine)):
        raise UsageError(f"engine {name!r}: {entry.value} is not a subclass of Engine; tell its author")
    return engine


def _entries() -> dict[str, EntryPoint]:
    # cfx's own come last, so that another package cannot take one of their names.
    entries = sorted(entry_points(group=GROUP), key=lambda entry: entry.value.startswith("cfx."))
    return {entry.name: entry for entry in entries}
