"""Finds bundles by name or path, without importing torch."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ..errors import UsageError, unknown_name
from ..files import expanded

NAME = "bundle.toml"


def shipped() -> dict[str, Path]:
    """Names and directories of the bundles that are shipped with cfx."""
    root = Path(str(files(__package__ or "")))
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{NAME}"))}


def find_bundle(name: str) -> Path:
    """The directory of a bundle, given the name of a shipped one or a path.

    A directory with the name of a shipped bundle is meant only if there is a bundle in it.

    Raises:
        UsageError: there is no such bundle; the message names the nearest known one.
    """
    directory = expanded(name)
    if (directory / NAME).is_file():
        return directory
    known = shipped()
    if directory.is_dir() and name not in known:
        return directory
    if "/" in name or "\\" in name:
        raise UsageError(f"bundle {name}: no such directory; create it with `cfx init`, or name a shipped bundle")
    if name not in known:
        raise unknown_name("bundle", name, known)
    return known[name]
