"""Finds engines by name through the entry-point group `cfx.engines`, so that other packages can add engines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """The engines that a command uses.

    Attributes:
        names: of the engines; empty for the bundle's own.
        every: "all" was asked for, so engines that cannot be used are left out.
        settings: by engine, the text of each field that was set.
    """

    names: tuple[str, ...] = ()
    every: bool = False
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def engine_names() -> list[str]:
    """The names of all installed engines in alphabetical order, without importing any engine."""
    return sorted(_by_name())


def by_rank(engines: Mapping[str, type[Engine]]) -> list[str]:
    """The names of loaded engines in display order: by rank, then by name."""
    return sorted(engines, key=lambda name: (engines[name].rank, name))


def plugin_of(name: str) -> str | None:
    """Name and version of the package that an engine comes from; None if that is cfx."""
    entry = _by_name()[name][-1]
    return None if _is_own(entry) else _package(entry)


def load_engine(name: str) -> type[Engine]:
    """Imports the class of an engine.

    Raises:
        UsageError: no engine has this name (the nearest is suggested), several packages provide it, its package cannot
            be imported, or what it provides is no engine.
    """
    found = _by_name()
    if name not in found:
        raise unknown_name("engine", name, found)
    entry = found[name][-1]
    if len(found[name]) > 1 and not _is_own(entry):
        raise UsageError(f"engine {name!r}: {_packages(found[name])} provide it; uninstall all but one of them")
    from .declared import fault_of
    from .engine import CONTRACT

    try:
        engine = entry.load()
    except (Exception, SystemExit) as error:  # another package's module may fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"engine {name!r}: {entry.value} cannot be imported ({reason}); tell its author") from error
    version = getattr(engine, "contract", CONTRACT)
    if version != CONTRACT:
        raise UsageError(
            f"engine {name!r}: {_package(entry)} is written for version {version!r} of the contract of engines, "
            f"and this cfx has version {CONTRACT}; install a version of the package for this cfx"
        )
    fault = fault_of(engine, name)
    if fault is not None:
        raise UsageError(f"engine {name!r}: {entry.value}: {fault}; tell the author of {_package(entry)}")
    return engine


def ignored() -> dict[str, str]:
    """By the name of an engine of cfx that other packages provide, too, a sentence that says so."""
    return {
        name: f"{_packages(entries[:-1])} cannot take a name of cfx's own: cfx's is used"
        for name, entries in _by_name().items()
        if len(entries) > 1 and _is_own(entries[-1])
    }


def _by_name() -> dict[str, list[EntryPoint]]:
    """All entry points by name. cfx's own come last, so that another package cannot take one of their names."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (_is_own(entry), _package(entry), entry.value)):
        found.setdefault(entry.name, {})[entry.value] = entry  # an installation may be seen twice
    return {name: [*entries.values()] for name, entries in found.items()}


def _is_own(entry: EntryPoint) -> bool:
    return entry.value.startswith("cfx.")


def _packages(entries: Iterable[EntryPoint]) -> str:
    return " and ".join(map(_package, entries))


def _package(entry: EntryPoint) -> str:
    return "an unknown package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
