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
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Generic, Protocol, TypeVar

from ..documents import Table, to_json
from ..errors import DataError, OutputError, UsageError, reason_of
from ..files import HELD, append_text, locked, write_bytes
from .identity import RunIdentity
from .manifest import MANIFEST, Manifest, machine, versions
from .step import Step

RECORDS, SUMMARY, PAGE, FILES = "records.jsonl", "summary.json", "index.html", "files.jsonl"
LOCK = ".lock"
PARTIAL = re.compile(r"\.(.+)\.\d+\.partial")  # what `write_bytes` leaves if the process is killed


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


def untold(text: str) -> None:
    """Takes a note, and tells nobody."""


class RunDirectory(Generic[R]):
    """The directory of a run.

    Args:
        path: the directory.
        kind: of the run.
        note: called with a sentence about what had to be made again, or is not deleted.
    """

    def __init__(self, path: Path, kind: RunKind[R], note: Callable[[str], None] = untold) -> None:
        self.path = path
        self.kind = kind
        self.note = note
        self._listed: set[str] | None = None

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
            if fresh or not begun:  # what a killed command wrote before its manifest is of no use
                self._clear()
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
            if fresh and not (directory / FILES).exists():
                raise UsageError(
                    f"--fresh {directory}: the run has no list of its files ({FILES}), so nothing was deleted; choose "
                    "another directory, or delete it yourself"
                )
        elif directory.is_dir():
            ours = {LOCK, LOCK + HELD, FILES, *(PurePosixPath(name).parts[0] for name in self._names())}
            strangers = sorted(
                path.name for path in directory.iterdir() if path.name not in ours and not PARTIAL.fullmatch(path.name)
            )
            if strangers:
                raise UsageError(
                    f"--out {directory}: holds other things ({', '.join(strangers[:3])}) and no run; "
                    "choose a new directory"
                )

    def _clear(self) -> None:
        """Delete the files that are listed, and nothing else; the manifest goes last.

        Raises:
            OutputError: a file cannot be deleted.
        """
        directory, names = self.path, self._names(tell=self.note)
        paths = [directory / name for name in names if name != MANIFEST]
        folders = {folder for path in paths for folder in path.parents if directory in folder.parents}
        starts = {(path.parent, path.name[:40]) for path in (*paths, directory / MANIFEST)}
        try:
            for folder in {folder for folder, _ in starts}:
                found = ((path, PARTIAL.fullmatch(path.name)) for path in folder.glob(".*.partial"))
                paths += [path for path, part in found if part is not None and (folder, part[1]) in starts]
            for path in (*paths, directory / MANIFEST, directory / FILES):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"--fresh {directory}: could not be emptied ({reason_of(error)}); choose another directory"
            ) from error
        for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
            with suppress(OSError):  # it holds other things, or does not exist
                folder.rmdir()
        self._listed = None

    def _names(self, tell: Callable[[str], None] = untold) -> list[str]:
        """The files that are listed, relative to the directory; `tell` is told of lines that name none."""
        try:
            lines = (self.path / FILES).read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        names: list[str] = []
        for number, line in enumerate(lines, start=1):
            try:
                name = json.loads(line)
            except ValueError:
                name = None
            if isinstance(name, str) and is_inside(name):
                names.append(name)
            else:
                where, said = f"{self.path / FILES}: line {number}", line.decode("utf-8", "replace")
                tell(f"{where} ({said:.80}) names no file of the run; nothing is deleted for it")
        return names

    def list_files(self, names: Iterable[str]) -> None:
        """List files, relative to the directory, that are about to be written."""
        if self._listed is None:
            self._listed = set(self._names())
        new = [name for name in dict.fromkeys(names) if name not in self._listed]
        if not new:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with open(self.path / FILES, "a", encoding="utf-8", newline="\n") as file:
                file.write("".join(to_json(name) + "\n" for name in new))
        except OSError as error:
            raise OutputError(
                f"{self.path / FILES}: could not be written ({reason_of(error)}); choose another directory"
            ) from error
        self._listed.update(new)

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
        return Step(name, needs, self.path, self.list_files, self.note)

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
                        raise DataError(f"{where} is a second record of {', '.join(record.key)}; {remedy}")
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


def is_inside(name: str) -> bool:
    """Whether a name is that of a file in a directory, relative to it."""
    parts = PurePosixPath(name).parts
    return bool(parts) and ".." not in parts and not PurePosixPath(name).is_absolute() and "\\" not in name


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
