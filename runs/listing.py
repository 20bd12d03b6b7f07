"""The list of a run's files: every file is listed before it is written, and starting anew deletes what is listed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from ..documents import to_json
from ..errors import OutputError, reason_of
from ..progress import SILENT

FILES = "files.jsonl"
PARTIAL = re.compile(r"\.(.+)\.\d+\.partial")  # what `write_bytes` leaves if the process is killed


class FileList:
    """The files of a run, relative to its directory, a JSON string per line of files.jsonl.

    Args:
        directory: of the run.
        last: name of the file that is deleted last, because it says that the directory holds a run.
    """

    def __init__(self, directory: Path, last: str) -> None:
        self.directory = directory
        self.path = directory / FILES
        self.last = last
        self._listed: set[str] | None = None

    def names(self, note: Callable[[str], None] = SILENT.note) -> list[str]:
        """The files that are listed; `note` is called with a sentence for each line that names none."""
        try:
            lines = self.path.read_bytes().split(b"\n")[:-1]
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
                where, said = f"{self.path}: line {number}", line.decode("utf-8", "replace")
                note(f"{where} ({said:.80}) names no file of the run; nothing is deleted for it")
        return names

    def add(self, names: Iterable[str]) -> None:
        """List files, relative to the directory, that are about to be written."""
        if self._listed is None:
            self._listed = set(self.names())
        new = [name for name in dict.fromkeys(names) if name not in self._listed]
        if not new:
            return
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8", newline="\n") as file:
                file.write("".join(to_json(name) + "\n" for name in new))
        except OSError as error:
            raise OutputError(
                f"{self.path}: could not be written ({reason_of(error)}); choose another directory"
            ) from error
        self._listed.update(new)

    def clear(self, note: Callable[[str], None] = SILENT.note) -> None:
        """Delete the files that are listed, and nothing else; `last` and the list itself go last.

        `note` is called with a sentence for each line that names no file.

        Raises:
            OutputError: a file cannot be deleted.
        """
        directory = self.directory
        paths = [directory / name for name in self.names(note) if name != self.last]
        for path in [path for path in paths if path.is_dir() and not path.is_symlink()]:
            note(f"{self.path}: {path.relative_to(directory)} is a directory; it is not deleted")
            paths.remove(path)
        paths.sort(key=lambda path: len(path.parts))  # what says that a run is finished goes before its pictures
        folders = {folder for path in paths for folder in path.parents if directory in folder.parents}
        starts = {(path.parent, path.name[:40]) for path in (*paths, directory / self.last)}
        try:
            for folder in {folder for folder, _ in starts}:
                found = ((path, PARTIAL.fullmatch(path.name)) for path in folder.glob(".*.partial"))
                paths += [path for path, part in found if part is not None and (folder, part[1]) in starts]
            for path in (*paths, directory / self.last, self.path):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"--fresh {directory}: could not be emptied ({reason_of(error)}); choose another directory"
            ) from error
        for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
            with suppress(OSError):  # it holds other things, or does not exist
                folder.rmdir()
        self._listed = None


def is_inside(name: str) -> bool:
    """Whether a name is that of a file in a directory, relative to it."""
    parts = PurePosixPath(name).parts
    return bool(parts) and ".." not in parts and not PurePosixPath(name).is_absolute() and "\\" not in name
