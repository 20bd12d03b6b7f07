"""The directory of a run, for any command whose work can be resumed: a lock, a manifest, records, steps, other files.

    RunKind("bench", read_record)           the command, how its records are read, the names of its steps
    RunDirectory(path, kind)                held, begin, append, records, write, step

If a run is interrupted, the same command resumes it: the manifest is written once, and records are appended, and
whatever is computed from them is made again where it is missing. Every file is listed in files.jsonl before it is
written, so that starting anew deletes what the run has written, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Generic, Protocol, TypeVar

from ..documents import Table, to_json
from ..errors import DataError, UsageError
from ..files import HELD, append_text, locked, write_bytes
from ..progress import SILENT
from .identity import RunIdentity
from .listing import FILES, PARTIAL, FileList
from .manifest import MANIFEST, Manifest, machine, versions
from .step import Step

RECORDS, SUMMARY, PAGE = "records.jsonl", "summary.json", "index.html"
LOCK = ".lock"


class Record(Protocol):
    """One line of records.jsonl."""

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies it in its run, whatever else could be read or was done."""
        ...

    def as_json(self) -> dict[str, object]:
        """The JSON object."""
        ...


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class RunKind(Generic[R]):
    """What the runs of one command have in common.

    Attributes:
        command: name of the command, as in `cfx bench`.
        read: makes a record of a line of a run; raises DataError if it is none.
        steps: names of the expensive tables that are stored in between.
    """

    command: str
    read: Callable[[Table, RunDirectory[R]], R]
    steps: tuple[str, ...] = ()


class RunDirectory(Generic[R]):
    """The directory of a run.

    Args:
        path: the directory.
        kind: of the run.
        note: called with a sentence about what had to be made again, or is not deleted.
    """

    def __init__(self, path: Path, kind: RunKind[R], note: Callable[[str], None] = SILENT.note) -> None:
        self.path = path
        self.kind = kind
        self.note = note
        self.files = FileList(path, MANIFEST)

    @contextmanager
    def held(self, identity: RunIdentity, *, fresh: bool = False) -> Iterator[bool]:
        """Lock the directory, and check that it belongs to this run.

        Args:
            identity: everything that the records depend on.
            fresh: delete the run in the directory first.

        Yields:
            Whether the run was begun before.

        Raises:
            UsageError: another process uses the directory, or it belongs to a run with another identity or of another
                command, or holds other things than a run.
            DataError: its manifest is damaged.
            OutputError: the directory is not writable.
        """
        directory = self.path
        if directory.exists() and not directory.is_dir():
            raise UsageError(f"--out {directory}: a file, not a directory; choose another name")
        self._check_is_ours(fresh=fresh)
        with locked(directory / LOCK):
            begun = (directory / MANIFEST).exists()
            repair(directory / FILES)
            if fresh or not begun:  # what a killed command wrote before its manifest is of no use
                self.files.clear(self.note)
            elif found := identity.differences(Manifest.read(directory).config):
                raise UsageError(
                    f"--out {directory}: belongs to another run: {'; '.join(found)}; "
                    "choose another directory, use the same options, or start anew with --fresh"
                )
            repair(directory / RECORDS)
            yield begun and not fresh

    def _check_is_ours(self, *, fresh: bool) -> None:
        """Raise a UsageError if the directory holds a run of another command, or other things and no run."""
        directory = self.path
        if (directory / MANIFEST).exists():
            found = command_of(directory)
            if found is None and fresh:
                raise UsageError(
                    f"--fresh {directory}: {MANIFEST} is not that of a run, so nothing was deleted; choose another "
                    "directory, or delete it yourself"
                )
            if found is not None and found != self.kind.command:
                raise UsageError(
                    f"--out {directory}: holds a run of `cfx {found}`, not of `cfx {self.kind.command}`; choose "
                    "another directory"
                )
            unlisted = (directory / RECORDS).exists() and RECORDS not in self.files.names()
            if fresh and (unlisted or not (directory / FILES).exists()):
                raise UsageError(
                    f"--fresh {directory}: the run's list of its files ({FILES}) is missing, or lacks its records, so "
                    "nothing was deleted; choose another directory, or delete it yourself"
                )
        elif (directory / RECORDS).exists() and not fresh and RECORDS in self.files.names():
            raise UsageError(
                f"--out {directory}: holds the records of a run, and no {MANIFEST}; "
                "restore it, or start anew with --fresh"
            )
        elif directory.is_dir():
            ours = {LOCK, LOCK + HELD, FILES, *(PurePosixPath(name).parts[0] for name in self.files.names())}
            strangers = sorted(
                path.name for path in directory.iterdir() if path.name not in ours and not PARTIAL.fullmatch(path.name)
            )
            if strangers:
                raise UsageError(
                    f"--out {directory}: holds other things ({', '.join(strangers[:3])}) and no run; "
                    "choose a new directory"
                )

    def list_files(self, names: Iterable[str]) -> None:
        """List files, relative to the directory, that are about to be written."""
        self.files.add(names)

    def write(self, name: str, content: bytes) -> Path:
        """Write a file whole or not at all, and list it.

        Args:
            name: its path relative to the directory, with slashes.
            content: of the file.

        Raises:
            OutputError: it could not be written.
        """
        self.list_files([name])
        write_bytes(self.path / name, content)
        return self.path / name

    def begin(
        self,
        identity: RunIdentity,
        *,
        command: Sequence[str],
        device: str,
        inputs: Mapping[str, str] | None = None,
        unreadable: Sequence[str] = (),
        **more: object,
    ) -> Manifest:
        """Write the manifest of a run; `more` are fields that only runs of this kind have."""
        manifest = Manifest(
            kind=self.kind.command,
            command=tuple(command),
            begun=datetime.now(UTC).isoformat(timespec="seconds"),
            config=identity.values,
            inputs=inputs or {},
            versions=versions(),
            machine=machine(device),
            unreadable=tuple(unreadable),
            more=more,
        )
        self.list_files([MANIFEST])
        manifest.write(self.path)
        return manifest

    def update(self, manifest: Manifest, **more: object) -> Manifest:
        """Write fields of a run of this kind into its manifest."""
        updated = replace(manifest, more={**manifest.more, **more})
        updated.write(self.path)
        return updated

    def step(self, name: str, needs: Mapping[str, object]) -> Step:
        """An expensive table between the inputs and the results.

        Args:
            name: one of the kind's steps.
            needs: everything that it is made from, as JSON values; also the `digest` of other steps.
        """
        if name not in self.kind.steps:
            raise ValueError(f"{name!r} is no step of `cfx {self.kind.command}`: {', '.join(self.kind.steps)}")
        return Step(name, needs, self.path, self.files.add, self.note)

    def append(self, records: Sequence[R]) -> None:
        """Append records, all in one write.

        Raises:
            OutputError: the disk is full or not writable.
        """
        self.list_files([RECORDS])
        lines = [to_json(record.as_json()) for record in records]
        append_text(self.path / RECORDS, "".join(line + "\n" for line in lines))

    def records_digest(self) -> str:
        """The sha256 of the records, by which a summary knows whether it was computed from them."""
        try:
            with open(self.path / RECORDS, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return ""

    def records(self) -> Iterator[R]:
        """Read the records in their order, without a half-written last line.

        Raises:
            DataError: a line is not a record, or has the key of an earlier one.
        """
        path, seen = self.path / RECORDS, set[tuple[str, ...]]()
        remedy = "remove the line, or start anew with --fresh"
        try:
            with open(path, encoding="utf-8", newline="\n") as file:
                for number, line in enumerate(file, start=1):
                    if not line.endswith("\n"):
                        return
                    where = f"{path}: line {number}"
                    try:
                        record = self.kind.read(Table(json.loads(line), where, DataError), self)
                    except (ValueError, DataError) as error:
                        reason = str(error).removeprefix(f"{where}: ")
                        raise DataError(f"{where} is not a record ({reason}); {remedy}") from error
                    if record.key in seen:
                        raise DataError(f"{where} has the key of an earlier record ({', '.join(record.key)}); {remedy}")
                    seen.add(record.key)
                    yield record
        except FileNotFoundError:
            return
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 ({error.reason}); start anew with --fresh") from error


def command_of(directory: Path) -> str | None:
    """The command whose run is in a directory, by a manifest.json of any schema; None if it is not that of a run."""
    try:
        found = json.loads((directory / MANIFEST).read_bytes())
        if isinstance(found["schema"], int) and isinstance(found["command"], list):
            return str(found.get("kind") or "bench")  # manifests of earlier versions name no kind
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    return None


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
