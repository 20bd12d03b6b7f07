"""A run is a directory: manifest.json, pairs.jsonl, records.jsonl, images/, summary.json, index.html.

Whatever kills a run, the same command goes on with it: questions are written once, records are appended batch by
batch, and everything else is computed from those two.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import DataError, UsageError
from ..files import append_text, locked, write_text
from .pairs import Pair, read_pairs
from .records import Record, read_records, repair

SCHEMA = 1
MANIFEST, RECORDS, SUMMARY, PAGE = "manifest.json", "records.jsonl", "summary.json", "index.html"


@dataclass
class Run:
    """An open run directory.

    Attributes:
        directory: where it lies.
        manifest: what stands in manifest.json.
        pairs: the questions.
        answered: for each engine, the numbers of the questions that have a record.
    """

    directory: Path
    manifest: dict[str, Any]
    pairs: list[Pair]
    answered: dict[str, set[int]] = field(default_factory=dict)

    def append(self, records: Sequence[Record]) -> None:
        """Add records, all in one write.

        Raises:
            OutputError: the disk is full or not writable.
        """
        append_text(self.directory / RECORDS, "".join(record.as_json() + "\n" for record in records))
        for record in records:
            self.answered.setdefault(record.engine, set()).add(record.pair)

    def records(self) -> Iterator[Record]:
        """What has been answered, in the order in which it was."""
        return read_records(self.directory / RECORDS)

    @property
    def config(self) -> dict[str, Any]:
        """The settings that its figures depend on."""
        return self.manifest["config"]


def image_file(engine: str, pair: int) -> str:
    """Where the picture of an answer is, relative to the run's directory."""
    return f"images/{engine}/{pair:06d}.png"


def digest(config: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits that name a configuration."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:8]


def versions() -> dict[str, str]:
    """What a figure may depend on, by name."""
    packages = {name: installed_version(name) for name in ("torch", "numpy", "pillow", "normflows")}
    return {"cfx": __version__, "python": platform.python_version(), **packages}


def machine(device: str) -> dict[str, Any]:
    """Where the figures of cost come from."""
    import torch

    about: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
    }
    if device == "cuda":
        about["accelerator"] = torch.cuda.get_device_name()
    return about


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def differences(before: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> list[str]:
    """Each setting that is not the same, as "seed is 0 there and 1 here"."""
    result: list[str] = []
    for key in [*before, *(key for key in now if key not in before)]:
        there, here = before.get(key), now.get(key)
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            result += differences(there, here, f"{where}{key}.")
        elif there != here:
            result.append(f"{where}{key} is {_said(there)} there and {_said(here)} here")
    return result


def _said(value: Any) -> str:
    return "absent" if value is None else json.dumps(value, ensure_ascii=False, default=str)


@contextmanager
def opened(directory: Path, config: Mapping[str, Any]) -> Iterator[bool]:
    """Hold a run's directory, and see to it that it is this run's; yields whether it has been begun before.

    Raises:
        UsageError: another process is at work there, or it belongs to another configuration.
        DataError: its manifest is damaged.
        OutputError: it cannot be written to.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"--out {directory}: a file, not a directory; choose another name")
    if directory.is_dir() and not (directory / MANIFEST).exists():
        strangers = sorted(path.name for path in directory.iterdir() if path.name not in KNOWN)
        if strangers:
            raise UsageError(
                f"--out {directory}: holds other things ({', '.join(strangers[:3])}) and no run; choose a new directory"
            )
    with locked(directory / ".lock"):
        begun = (directory / MANIFEST).exists()
        if begun:
            found = differences(read_manifest(directory)["config"], json.loads(json.dumps(config, default=str)))
            if found:
                raise UsageError(
                    f"--out {directory}: belongs to another run: {'; '.join(found)}; "
                    "choose another directory, or ask for the same"
                )
            repair(directory / RECORDS)
        yield begun


KNOWN = (".lock", "images", "pairs.jsonl")
"""What a run that was killed before it had a manifest may have left."""


def begin(
    directory: Path, config: Mapping[str, Any], *, command: Sequence[str], batch_size: int, device: str, **more: Any
) -> None:
    """Write the manifest of a run whose questions are settled."""
    manifest = {
        "schema": SCHEMA,
        "command": list(command),
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config,
        "batch_size": batch_size,
        "versions": versions(),
        "machine": machine(device),
        **more,
    }
    write_text(directory / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False, default=str) + "\n")


def load_run(directory: Path) -> Run:
    """Open the run in a directory for reading.

    Raises:
        UsageError: there is none.
        DataError: it is damaged.
    """
    manifest = read_manifest(directory)
    run = Run(directory, manifest, read_pairs(directory))
    for record in run.records():
        if not 0 <= record.pair < len(run.pairs):
            raise DataError(
                f"{directory / RECORDS}: answers pair {record.pair}, but there are only {len(run.pairs)} questions; "
                "start with another directory"
            )
        run.answered.setdefault(record.engine, set()).add(record.pair)
    return run


def read_manifest(directory: Path) -> dict[str, Any]:
    """What stands in a run's manifest.json.

    Raises:
        UsageError: there is none.
        DataError: it is damaged, or of another schema.
    """
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{directory}: no run there (no {MANIFEST}); `cfx bench` makes one") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: damaged ({error}); start with another directory") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA or "config" not in manifest:
        found = manifest.get("schema") if isinstance(manifest, dict) else None
        raise DataError(f"{path}: schema {found!r}, this cfx reads schema {SCHEMA}; start with another directory")
    return manifest
