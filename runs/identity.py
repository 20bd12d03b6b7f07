"""What makes two runs the same: their settings, and digests of everything that they read and of the code."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
NOT_SHIPPED = ("tests", "studies")  # directories of the clone whose code does not influence a run


@cache
def code_digest(package: Path | None = None) -> str:
    """The sha256 over the names and contents of the .py files of a package, which may be one file; None: of cfx."""
    package = package or PACKAGE
    root = package if package.is_dir() else package.parent
    total = hashlib.sha256()
    found = _modules(package) if package.is_dir() else [package]
    for path in sorted(found, key=lambda path: path.relative_to(root).as_posix()):
        content = path.read_bytes()
        total.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()


def package_of(kind: type) -> Path | None:
    """The directory of the package that a class comes from, or its file; None if it has none."""
    file = getattr(sys.modules[kind.__module__.partition(".")[0]], "__file__", None)
    if file is None:
        return None
    path = Path(file)
    return path.parent if path.name == "__init__.py" else path


def _modules(directory: Path) -> Iterator[Path]:
    yield from directory.glob("*.py")
    for inner in directory.iterdir():
        if inner.name not in NOT_SHIPPED and (inner / "__init__.py").is_file():
            yield from _modules(inner)


def digest(config: Mapping[str, object]) -> str:
    """Eight hexadecimal digits that identify a config."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:8]


def differences(
    before: Mapping[str, object], now: Mapping[str, object], where: str = "", sides: tuple[str, str] = ("there", "here")
) -> list[str]:
    """Describe each setting that differs, such as "seed is 0 there and 1 here"."""
    result: list[str] = []
    for key in [*before, *(key for key in now if key not in before)]:
        there, here = before.get(key), now.get(key)
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            result += differences(there, here, f"{where}{key}.", sides)
        elif there != here:
            result.append(f"{where}{key} is {_as_text(there)} {sides[0]} and {_as_text(here)} {sides[1]}")
    return result


def _as_text(value: object) -> str:
    if isinstance(value, str) and len(value) == 64:  # a sha256
        return f"{value[:12]}..."
    return "absent" if value is None else json.dumps(value, ensure_ascii=False, default=str)
