"""Atomic writes, appending, and lock files."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath

from .errors import OutputError, UsageError, reason_of

HELD = ".held"  # ending of the file that stands for a lock where the system has none


def expanded(text: str) -> Path:
    """A path as a user gives it, with `~` for the home directory.

    Raises:
        UsageError: the home directory is not known.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{text}: the home directory is not known; set HOME, or write the whole path") from error


def is_inner(name: str) -> bool:
    """Whether a relative name is that of a file in a folder or below it, on every system."""
    parts = PurePosixPath(name).parts
    absolute = PurePosixPath(name).is_absolute() or bool(PureWindowsPath(name).anchor)
    return bool(parts) and not absolute and ".." not in parts and "\\" not in name and "\0" not in name


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: to a temporary name beside `path`, which is then renamed.

    Raises:
        OutputError: the directory cannot be written to, or the disk is full; no partial file is left behind.
    """
    short = path.name[:40]  # a longer name may be too long for the file system although `path`'s is not
    temporary = path.with_name(f".{short}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:  # Ctrl-C must not leave a partial file either
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({reason_of(error)}); {remedy_of(error)}") from error


def remedy_of(error: OSError) -> str:
    """What to do about a file that cannot be written, by why it cannot."""
    if error.errno == errno.ENAMETOOLONG:
        return "give it a shorter name"
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return "free some space, or choose another directory"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "close some files, or raise the limit (ulimit -n)"
    return "choose another directory"


def remove(paths: Iterable[Path]) -> None:
    """Delete files, such as those of a result that could not be completed; missing ones are ignored."""
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Write text in UTF-8, as `write_bytes` does."""
    write_bytes(path, content.encode("utf-8"))


def append_text(path: Path, content: str) -> None:
    """Append text in UTF-8 and wait until it is on disk, so that it survives a crash.

    Raises:
        OutputError: it could not be written; the file may end in the middle of `content`.
    """
    try:
        with open(path, "a", encoding="utf-8", newline="\n") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(
            f"{path}: could not be written ({reason_of(error)}); free some space and start again"
        ) from error


def make_directory(directory: Path) -> int:
    """Create a directory and check that it is writable, before any work is done.

    Returns:
        The free disk space in bytes.

    Raises:
        OutputError: it cannot be created or written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
        return shutil.disk_usage(directory).free
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written to ({reason_of(error)}); {remedy_of(error)}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on the file `path` while the context is open; the system releases the lock of a killed process.

    Where the file system has no locks, a file beside it stands for the lock.

    Raises:
        UsageError: another process holds the lock.
        OutputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b")  # noqa: SIM115  # closed below, open while the lock is held
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({reason_of(error)}); {remedy_of(error)}") from error
    with file:
        try:
            _lock(file.fileno())
        except (BlockingIOError, PermissionError) as error:
            raise UsageError(
                f"{path.parent}: another process is using this directory; wait for it, or choose another"
            ) from error
        except OSError as error:  # some network file systems have no locks
            with _created(path.with_name(path.name + HELD), reason_of(error)):
                yield
            return
        yield


@contextmanager
def _created(path: Path, reason: str) -> Iterator[None]:
    """Hold a lock where the system has none: a file that exists while the context is open. A kill leaves it behind."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(f"process {os.getpid()} on {platform.node()}\n")
    except FileExistsError as error:
        with suppress(OSError):
            reason = f"{reason}; {path.name} is of {path.read_text(encoding='utf-8').strip()}"
        raise UsageError(
            f"{path.parent}: this file system has no locks ({reason}); if no other process is using the directory, "
            f"delete {path}"
        ) from error
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({reason_of(error)}); {remedy_of(error)}") from error
    try:
        yield
    finally:
        remove([path])


def _lock(descriptor: int) -> None:
    """Take the operating system's lock on an open file, or raise OSError immediately."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
