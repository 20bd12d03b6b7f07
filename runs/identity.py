"""What makes two runs the same: their settings, and digests of everything that they read and of the code."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from ..bundles.bundle import Bundle
from ..bundles.integrity import digests_of
from ..counterfactuals.engine import Engine
from ..counterfactuals.registry import engine_names, plugin_of
from .inputs import Inputs
from .manifest import versions

PACKAGE = Path(__file__).parents[1]
NOT_SHIPPED = ("tests", "studies")  # directories of the clone whose code does not influence a run


@dataclass(frozen=True)
class RunIdentity:
    """Everything that the records of a run depend on, except for the machine: contents, not the names of files.

    Attributes:
        values: as JSON values.
    """

    values: Mapping[str, object]

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        inputs: Inputs,
        *,
        engines: Mapping[str, Engine] | None = None,
        parts: Collection[str] = (),
        **settings: object,
    ) -> Self:
        """The identity of a run over images with a bundle.

        Args:
            bundle: holds the classifier, which is part of it, and the judges, which are too.
            inputs: the images.
            engines: by name; their settings, their parts and, of other packages, their code are part of it.
            parts: names of further parts of the bundle that are used.
            settings: all else that the records depend on, as JSON values.
        """
        engines = engines or {}
        used = {*parts, bundle.explained}
        used |= {name for engine in engines.values() for name in (*engine.needs, *engine.uses)}
        installed = {name: plugin_of(name) for name in engines if name in engine_names()}
        plugins = {name: plugin for name, plugin in installed.items() if plugin is not None}
        return cls(
            {
                "versions": {name: versions()[name] for name in ("cfx", "torch")},
                "code": code_digest(),
                "plugins": plugins,
                "plugin_code": {name: code_of(type(engines[name])) for name in plugins},
                "bundle": {"name": bundle.name, "digest": bundle.digest},
                "parts": digests_of(bundle, [name for name in bundle.parts if name in used or bundle.judges.has(name)]),
                "classifier": bundle.explained,
                "engines": {name: engine.settings() for name, engine in engines.items()},
                "images": {"count": len(inputs), "sha256": inputs.digest()},
                "scale": None if inputs.scale is None else str(inputs.scale),
                "device": bundle.device.type,
                **settings,
            }
        )

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that name it."""
        return hashlib.sha256(json.dumps(self.values, sort_keys=True, default=str).encode()).hexdigest()[:8]

    def differences(self, found: Mapping[str, object]) -> list[str]:
        """What differs in the identity that is found in a directory, a sentence for each setting."""
        return differences(found, json.loads(json.dumps(self.values, default=str)))


def code_of(kind: type) -> str | None:
    """The digest of the code of a class of another package, whose version stays while its author works on it."""
    package = package_of(kind)
    return None if package is None else code_digest(package)


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
