"""Finds engines by name through the entry-point group `cfx.engines`, so that other packages can add engines."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from ..errors import UsageError, unknown_name

if TYPE_CHECKING:
    from .engine import Engine

GROUP = "cfx.engines"
DEFAULT_ENGINE = "auto"
"""The engine that answers where none is named: it asks the bundle's own, and others."""
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
    return _package(entry)


def load_engine(name: str) -> type[Engine]:
    """Imports the class of an engine.

    Raises:
        UsageError: no engine has this name (the nearest is suggested), or its package cannot be imported.
    """
    found = _entries()
    if name not in found:
        raise unknown_name("engine", name, found)
    entry = found[name]
    from .engine import CONTRACT, Engine

    try:
        engine = entry.load()
    except Exception as error:  # another package's module may fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"engine {name!r}: {entry.value} cannot be imported ({reason}); reinstall it") from error
    if not (isinstance(engine, type) and issubclass(engine, Engine)):
        raise UsageError(f"engine {name!r}: {entry.value} is not a subclass of Engine; tell its author")
    if engine.contract != CONTRACT:
        raise UsageError(
            f"engine {name!r}: {plugin_of(name)} is written for version {engine.contract} of the contract of engines, "
            f"and this cfx has version {CONTRACT}; install a version of the package for this cfx"
        )
    return engine


def clashes() -> dict[str, str]:
    """By the name of an engine that several packages provide, a sentence that says which one is used."""
    by_name: dict[str, list[EntryPoint]] = {}
    for entry in _sorted_entries():
        by_name.setdefault(entry.name, []).append(entry)
    return {
        name: f"{', '.join(map(_package, entries))} all provide it; that of {_package(entries[-1])} is used; "
        "uninstall the others"
        for name, entries in by_name.items()
        if len({entry.value for entry in entries}) > 1
    }


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in _sorted_entries()}


def _sorted_entries() -> list[EntryPoint]:
    """All entry points. cfx's own come last, so that another package cannot take one of their names."""
    return sorted(
        entry_points(group=GROUP), key=lambda entry: (entry.value.startswith("cfx."), _package(entry), entry.value)
    )


def _package(entry: EntryPoint) -> str:
    return "an unknown package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
