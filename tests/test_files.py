"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from cfx import files
from cfx.errors import OutputError, UsageError
from cfx.files import append_text, expanded, is_inner, locked, remedy_of, write_bytes, write_text


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_writes_and_makes_the_directory(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deeper" / "result.bin"
    write_bytes(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert names(path.parent) == ["result.bin"]


def test_text_is_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "note.txt", "Müller → 7\n")
    assert (tmp_path / "note.txt").read_bytes() == "Müller → 7\n".encode()


def test_replaces_an_existing_file_in_one_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.bin"
    path.write_bytes(b"old")
    seen = []
    move = os.replace

    def watched(source: str, target: Path) -> None:
        seen.append((Path(target).read_bytes(), Path(source).read_bytes()))
        move(source, target)

    monkeypatch.setattr(os, "replace", watched)
    write_bytes(path, b"new")
    assert seen == [(b"old", b"new")], "until the move the old file is whole, and the new one is complete"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["result.bin"]


def test_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    path = tmp_path / "file" / "result.bin"
    with pytest.raises(OutputError, match=r"could not be written .*; choose another directory") as caught:
        write_bytes(path, b"new")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert (tmp_path / "file").read_bytes() == b"kept"
    assert names(tmp_path) == ["file"]


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("old", [None, b"old"])
def test_disk_full_at_the_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bytes | None) -> None:
    path = tmp_path / "result.bin"
    if old is not None:
        path.write_bytes(old)
    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OutputError, match="no space left on device") as caught:
        write_bytes(path, b"new")
    assert str(path) in str(caught.value)
    assert names(tmp_path) == ([] if old is None else ["result.bin"])
    assert old is None or path.read_bytes() == old


def test_disk_full_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.bin"
    path.write_bytes(b"old")

    def filling_up(name: Path, mode: str) -> IO[Any]:
        file = open(name, mode, buffering=0)  # noqa: SIM115  write_bytes closes it
        monkeypatch.setattr(file, "write", full_disk, raising=False)
        return file

    monkeypatch.setattr("cfx.files.open", filling_up, raising=False)
    with pytest.raises(OutputError, match="no space left on device"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["result.bin"]


def test_append_adds_to_what_is_there(tmp_path: Path) -> None:
    append_text(tmp_path / "log", "one\n")
    append_text(tmp_path / "log", "zwei ü\n")
    assert (tmp_path / "log").read_bytes() == "one\nzwei ü\n".encode()
    with pytest.raises(OutputError, match="could not be written"):
        append_text(tmp_path, "three\n")


def test_a_lock_keeps_others_out_until_it_is_let_go(tmp_path: Path) -> None:
    lock = tmp_path / "run" / ".lock"
    with locked(lock):
        with pytest.raises(UsageError, match="another process is using this directory"), locked(lock):
            pass
        program = f"from cfx.files import locked\nfrom pathlib import Path\nwith locked(Path({str(lock)!r})): pass"
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert other.returncode and "another process is using this directory" in other.stderr
    with locked(lock):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_the_system_has_no_locks_a_file_stands_for_one(tmp_path: Path, monkeypatch, number: int):
    def unsupported(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "_lock", unsupported)
    path = tmp_path / "run" / ".lock"
    with files.locked(path):
        with pytest.raises(UsageError) as error, files.locked(path):
            pass
        said = str(error.value)
        assert "this file system has no locks" in said and f"process {os.getpid()} on " in said
        assert said.endswith(f"delete {path}.held")
    with files.locked(path):
        pass
    assert not Path(f"{path}.held").exists()


def test_the_home_directory_is_expanded_or_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert expanded("~/runs") == Path("/somewhere/runs") and expanded("runs") == Path("runs")

    def unknown(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    with pytest.raises(UsageError, match="~/runs: the home directory is not known; set HOME, or write the whole path"):
        expanded("~/runs")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENAMETOOLONG, "give it a shorter name"),
        (errno.ENOSPC, "free some space, or choose another directory"),
        (errno.EMFILE, "close some files, or raise the limit (ulimit -n)"),
        (errno.EACCES, "choose another directory"),
        (errno.EROFS, "choose another directory"),
    ],
)
def test_the_remedy_fits_the_fault(number: int, remedy: str) -> None:
    assert remedy_of(OSError(number, os.strerror(number))) == remedy


def test_a_name_that_is_too_long_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"could not be written \(file name too long\); give it a shorter name"):
        write_bytes(tmp_path / ("x" * 300), b"")


@pytest.mark.parametrize("name", ["a", "a/b.bin", "a b", ".hidden"])
def test_inner_names(name: str) -> None:
    assert is_inner(name)
    assert not is_inner(f"../{name}") and not is_inner(f"/{name}") and not is_inner(f"C:\\{name}")
