"""Writing files whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError, UsageError, reason_of


def write_bytes(path: Path, content: bytes) -> None:
    """Write to a temporary name beside `path`, then rename: a reader sees the old file or the new one.

    Raises:
        OutputError: the directory cannot be written to, or the disk is full; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:  # Ctrl-C, too, must not leave half a file
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({reason_of(error)}); choose another directory") from error


def write_text(path: Path, content: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, content.encode("utf-8"))


def append_text(path: Path, content: str) -> None:
    """Append in UTF-8, and wait until the disk has it: what was appended outlives a killed process.

    Raises:
        OutputError: it could not be written; the file may end in the middle of `content`.
    """
    try:
        with open(path, "a", encoding="utf-8", newline="\n") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({reason_of(error)}); make room and start again") from error


def make_directory(directory: Path) -> int:
    """Make a directory and see whether it can be written to, before any work is done.

    Returns:
        How many bytes are free there.

    Raises:
        OutputError: it cannot be made or written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
        return shutil.disk_usage(directory).free
    except OSError as error:
        raise OutputError(
            f"{directory}: cannot be written to ({reason_of(error)}); choose another directory"
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for as long as the context lasts; a killed process lets go of it.

    Raises:
        UsageError: another process holds it.
        OutputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b")  # noqa: SIM115  # closed below, and open for as long as the lock is held
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({reason_of(error)}); choose another directory") from error
    with file:
        try:
            _lock(file.fileno())
        except OSError as error:
            raise UsageError(
                f"{path.parent}: another process is at work in this directory; wait for it, or choose another"
            ) from error
        yield


def _lock(descriptor: int) -> None:
    """Take the system's own lock on an open file, or raise OSError at once."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
