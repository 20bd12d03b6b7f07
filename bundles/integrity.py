"""Whether the files of a bundle are those that bundle.toml describes, without loading the models."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ..classifiers.foreign.opening import code_of
from ..errors import BundleError
from .bundle import Bundle
from .parts import files_with_digests


def check_files(bundle: Bundle) -> tuple[int, list[str]]:
    """Compute the checksums of all parts' files without loading the models.

    Returns:
        Their total size in bytes, and a sentence for each problem.
    """
    size, problems = 0, []
    for name in bundle.parts:
        for path, sha256 in files_of_part(bundle, name):
            content = path.read_bytes() if path.exists() else None
            size += len(content or b"")
            if content is None:
                problems.append(f"{path.name} is missing")
            elif hashlib.sha256(content).hexdigest() != sha256:
                problems.append(f"{path.name} is not the file that bundle.toml describes")
    return size, problems


def digests_of(bundle: Bundle, names: Iterable[str]) -> dict[str, str]:
    """What each of some parts is made of: the sha256 of its files and, for a user's classifier, its code.

    Raises:
        BundleError: a part is not in the bundle, or one of its files is missing or not the one in bundle.toml.
    """
    result: dict[str, str] = {}
    for name in names:
        entry = bundle.must_have(name)
        found: list[str] = []
        for path, sha256 in files_of_part(bundle, name):
            found.append(hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing")
            if found[-1] != sha256:
                raise BundleError(
                    f"bundle {bundle.name}: part {name!r}: {path.name} is missing or not the file that bundle.toml "
                    "describes (sha256 differs); restore it"
                )
        if entry.foreign is not None:
            bundle.part(name)  # imports the code of a factory, if the user allows it
            found.append(code_of(entry.foreign))
        result[name] = " ".join(filter(None, found))
    return result


def files_of_part(bundle: Bundle, name: str) -> list[tuple[Path, str | None]]:
    """Every file of a part and its expected sha256."""
    entry = bundle.parts[name]
    if entry.foreign is not None:
        return files_with_digests(entry.foreign, bundle.directory)
    return [(bundle.directory / str(entry.file), entry.sha256)]
