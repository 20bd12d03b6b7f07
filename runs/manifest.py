"""manifest.json: what a run was asked, with which versions, on which machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from pathlib import Path

import torch

from .._version import VERSION
from ..documents import Table, read_json, to_json
from ..errors import DataError, UsageError
from ..files import write_text

SCHEMA = 2
MANIFEST = "manifest.json"
START_ANEW = "; start with another directory, or anew with --fresh"
FIELDS = (*("schema", "kind", "command", "begun", "config", "inputs", "versions", "machine", "unreadable"),)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The manifest of a run: what was asked, with which versions, on which machine.

    Attributes:
        kind: the command whose run it is, such as "bench".
        command: the command as it was typed.
        begun: date and time of the beginning, UTC.
        config: everything that the records depend on; a run can be resumed only with the same config.
        inputs: where the images and the targets came from, as text by name. Only for readers: what counts is their
            content, whose digests are in `config`.
        versions: versions of cfx, Python and the packages that figures depend on.
        machine: the machine that the cost was measured on.
        unreadable: what is wrong with each input that could not be read.
        more: fields that only runs of this kind have.
    """

    kind: str
    command: tuple[str, ...]
    begun: str
    config: Mapping[str, object]
    inputs: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str]
    machine: Mapping[str, object]
    unreadable: tuple[str, ...] = ()
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def settings(self) -> Table:
        """`config` as a table, whose fields are checked on reading."""
        return Table(self.config, f"{MANIFEST}: config", DataError, START_ANEW)

    @property
    def own(self) -> Table:
        """`more` as a table, whose fields are checked on reading."""
        return Table(self.more, MANIFEST, DataError, START_ANEW)

    def as_json(self) -> dict[str, object]:
        """The JSON object."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "command": list(self.command),
            "begun": self.begun,
            "config": self.config,
            "inputs": self.inputs,
            "versions": self.versions,
            "machine": self.machine,
            "unreadable": list(self.unreadable),
            **self.more,
        }

    @classmethod
    def from_json(cls, table: Table) -> Manifest:
        """The inverse of `as_json`."""
        return cls(
            kind=table.get("kind", str) or "bench",
            command=table.several("command", str) or (),
            begun=table.need("begun", str),
            config=table.need_table("config").values,
            inputs=table.mapping("inputs", str),
            versions=table.mapping("versions", str),
            machine=table.need_table("machine").values,
            unreadable=table.several("unreadable", str) or (),
            more=table.others(FIELDS),
        )

    def write(self, directory: Path) -> None:
        """Write manifest.json.

        Raises:
            OutputError: the file could not be written.
        """
        write_text(directory / MANIFEST, to_json(self.as_json(), indent=2) + "\n")

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read a run's manifest.json.

        Raises:
            UsageError: there is no manifest.
            DataError: the manifest is damaged, or has another schema.
        """
        try:
            return cls.from_json(read_json(directory / MANIFEST, SCHEMA, START_ANEW))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UsageError(f"{directory}: no run there (no {MANIFEST})") from error


def versions() -> dict[str, str]:
    """The versions that figures may depend on, by name."""
    packages = {name: installed_version(name) for name in ("torch", "numpy", "pillow", "normflows")}
    return {"cfx": VERSION, "python": platform.python_version(), **packages}


def machine(device: str) -> dict[str, object]:
    """A description of the machine that the cost is measured on."""
    about: dict[str, object] = {
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
    """The processor's name, if the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
