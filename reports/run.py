"""The directory of a run: manifest.json, its questions, records.jsonl, images/, summary.json, index.html.

If a run is interrupted, the same command resumes it: the questions are written once, records are appended batch by
batch, and everything else is computed from both.
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

import torch

from .._version import VERSION
from ..answers.answer import Answer
from ..documents import Table, read_json
from ..errors import DataError, UsageError
from ..files import append_text, locked, write_text

SCHEMA = 2
MANIFEST, RECORDS, PAGE = "manifest.json", "records.jsonl", "index.html"
START_ANEW = "; start with another directory"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The manifest of a run: what was asked, with which versions, on which machine.

    Attributes:
        command: the command as it was typed.
        begun: date and time of the beginning, UTC.
        config: everything that the records depend on; a run can be resumed only with the same config.
        batch_size: the batch size that `auto` chose.
        versions: versions of cfx, Python and the packages that figures depend on.
        machine: the machine that the cost was measured on.
        unreadable: what is wrong with each input that could not be read.
        more: fields that only some runs have.
    """

    command: tuple[str, ...]
    begun: str
    config: Mapping[str, object]
    batch_size: int
    versions: Mapping[str, str]
    machine: Mapping[str, object]
    unreadable: tuple[str, ...] = ()
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def settings(self) -> Table:
        """`config` as a table, whose fields are checked on reading."""
        return Table(self.config, f"{MANIFEST}: config", DataError, START_ANEW)

    def as_json(self) -> dict[str, object]:
        """The JSON object."""
        return {
            "schema": SCHEMA,
            "command": list(self.command),
            "begun": self.begun,
            "config": self.config,
            "batch_size": self.batch_size,
            "versions": self.versions,
            "machine": self.machine,
            "unreadable": list(self.unreadable),
            **self.more,
        }

    @classmethod
    def from_json(cls, table: Table) -> Manifest:
        """The inverse of `as_json`."""
        known = ("schema", "command", "begun", "config", "batch_size", "versions", "machine", "unreadable")
        return cls(
            command=table.several("command", str) or (),
            begun=table.need("begun", str),
            config=table.need_table("config").values,
            batch_size=table.need("batch_size", int),
            versions=table.mapping("versions", str),
            machine=table.need_table("machine").values,
            unreadable=table.several("unreadable", str) or (),
            more=table.others(known),
        )

    def write(self, directory: Path) -> None:
        """Write manifest.json.

        Raises:
            OutputError: the file could not be written.
        """
        text = json.dumps(self.as_json(), indent=2, ensure_ascii=False, default=str)
        write_text(directory / MANIFEST, text + "\n")

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
            raise UsageError(f"{directory}: no run there (no {MANIFEST}); `cfx bench` makes one") from error


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


@dataclass(frozen=True)
class RunDirectory:
    """The directory of a run, for any command whose work can be resumed.

    Attributes:
        path: the directory.
        questions: name of the file with the questions, which is written before the manifest.
    """

    path: Path
    questions: str

    @contextmanager
    def held(self, config: Mapping[str, object]) -> Iterator[bool]:
        """Lock the directory, and check that it belongs to this run.

        Args:
            config: everything that the records depend on.

        Yields:
            Whether the run was begun before.

        Raises:
            UsageError: another process uses the directory, or it belongs to a run with another config.
            DataError: its manifest is damaged.
            OutputError: the directory is not writable.
        """
        directory = self.path
        if directory.exists() and not directory.is_dir():
            raise UsageError(f"--out {directory}: a file, not a directory; choose another name")
        if directory.is_dir() and not (directory / MANIFEST).exists():
            left_by_a_kill = (".lock", "images", self.questions)
            strangers = sorted(path.name for path in directory.iterdir() if path.name not in left_by_a_kill)
            if strangers:
                raise UsageError(
                    f"--out {directory}: holds other things ({', '.join(strangers[:3])}) and no run; "
                    "choose a new directory"
                )
        with locked(directory / ".lock"):
            begun = (directory / MANIFEST).exists()
            if begun:
                found = differences(Manifest.read(directory).config, json.loads(json.dumps(config, default=str)))
                if found:
                    raise UsageError(
                        f"--out {directory}: belongs to another run: {'; '.join(found)}; "
                        "choose another directory, or use the same options"
                    )
                repair(directory / RECORDS)
            yield begun

    def begin(
        self,
        config: Mapping[str, object],
        *,
        command: Sequence[str],
        batch_size: int,
        device: str,
        unreadable: Sequence[str] = (),
        **more: object,
    ) -> Manifest:
        """Write the manifest of a run, after its questions."""
        manifest = Manifest(
            command=tuple(command),
            begun=datetime.now(UTC).isoformat(timespec="seconds"),
            config=config,
            batch_size=batch_size,
            versions=versions(),
            machine=machine(device),
            unreadable=tuple(unreadable),
            more=more,
        )
        manifest.write(self.path)
        return manifest

    def append(self, answers: Sequence[Answer]) -> None:
        """Append records, all in one write.

        Raises:
            OutputError: the disk is full or not writable.
        """
        lines = [json.dumps(answer.as_json(), ensure_ascii=False, allow_nan=False) for answer in answers]
        append_text(self.path / RECORDS, "".join(line + "\n" for line in lines))

    def answers(self) -> Iterator[Answer]:
        """Read the answers, in the order of the records.

        Raises:
            DataError: a line is not a record, or answers a question a second time.
        """
        return read_records(self.path / RECORDS)


def digest(config: Mapping[str, object]) -> str:
    """Eight hexadecimal digits that identify a config."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:8]


def differences(before: Mapping[str, object], now: Mapping[str, object], where: str = "") -> list[str]:
    """Describe each setting that differs, such as "seed is 0 there and 1 here"."""
    result: list[str] = []
    for key in [*before, *(key for key in now if key not in before)]:
        there, here = before.get(key), now.get(key)
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            result += differences(there, here, f"{where}{key}.")
        elif there != here:
            result.append(f"{where}{key} is {_as_text(there)} there and {_as_text(here)} here")
    return result


def _as_text(value: object) -> str:
    return "absent" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def read_records(path: Path) -> Iterator[Answer]:
    """Read the records of a file, without a half-written last line. A missing file has no records.

    Raises:
        DataError: a line is not a record, or answers a question a second time.
    """
    answered: set[tuple[str, int | None]] = set()
    remedy = "remove the line, or start with another directory"
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith("\n"):
                    return
                where = f"{path}: line {number}"
                try:
                    answer = Answer.from_json(Table(json.loads(line), where, DataError))
                except (ValueError, DataError) as error:
                    reason = str(error).removeprefix(f"{where}: ")
                    raise DataError(f"{where} is not a record ({reason}); {remedy}") from error
                key = answer.engine, answer.question.number
                if key in answered:
                    raise DataError(
                        f"{where} answers pair {answer.question.number} by {answer.engine} a second time; {remedy}"
                    )
                answered.add(key)
                yield answer
    except FileNotFoundError:
        return
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); start with another directory") from error


def repair(path: Path) -> bool:
    """Cut off a half-written last line, which a killed process leaves; return whether there was one."""
    try:
        with open(path, "r+b") as file:
            whole = file.read().rfind(b"\n") + 1
            size = file.tell()
            file.truncate(whole)
    except FileNotFoundError:
        return False
    return whole < size
