"""Finds the images of `cfx explain`, and reports those that cannot be explained."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ..answers.answer import SCHEMA
from ..errors import CfxError, ImageError, OutputError, reason_of
from ..files import write_bytes
from ..images.finding import OneOfEach, find_images, identity
from ..runs.inputs import TargetRow, target_rows
from .explain_options import ExplainOptions
from .naming import stem_of, stems
from .terminal.terminal import Terminal

STDIN = "-"


@dataclass(frozen=True)
class Input:
    """An image to explain.

    Attributes:
        name: the name that messages and records use.
        path: its file.
        sha256: digest of the file's content.
        stem: beginning of the names of its results.
        own: as `stem`, if no other image is called the same.
        row: of the targets file, if it is listed there.
    """

    name: str
    path: Path
    sha256: str
    stem: str
    own: str
    row: TargetRow | None = None


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A directory that exists while the context is open.

    Raises:
        OutputError: the system's directories for temporary files cannot be written to.
    """
    try:
        directory = TemporaryDirectory(prefix="cfx-")
    except OSError as error:
        raise OutputError(
            f"no directory for temporary files can be written to ({reason_of(error)}); set TMPDIR to one that can"
        ) from error
    with directory as name:
        yield Path(name)


def find(
    options: ExplainOptions, temporary: Path, terminal: Terminal
) -> tuple[list[Input], list[tuple[str, CfxError]]]:
    """The images asked for, each once, in the order of the command line; and what is missing, by name.

    Args:
        options: names files, directories and globs, or "-" for stdin, and the directory of the results.
        temporary: directory for the image from stdin.
        terminal: is told what is left out.
    """
    rows = [] if options.targets is None else target_rows(options.targets)
    rows = [*{(identity(row.image), row.target): row for row in rows}.values()]  # each question once
    found = OneOfEach()
    for row in rows:
        found.add(row.image)
    missing: list[tuple[str, CfxError]] = []
    for pattern in options.images:
        try:
            if pattern == STDIN:
                found.paths.setdefault(STDIN, read_stdin(temporary))
                continue
            matches = find_images([pattern], recursive=options.recursive)
            for note in matches.notes:
                terminal.note(note)
            for path in matches.paths:
                found.add(path)
        except CfxError as error:
            missing.append((pattern, error))
    for note in found.notes():
        terminal.note(note)
    digests = [digest_of(path) for path in found.paths.values()]
    shown = ["stdin" if key == STDIN else str(path) for key, path in found.paths.items()]
    names = stems([*zip(shown, digests, strict=True)], options.out)
    inputs = {
        key: Input(STDIN if key == STDIN else str(path), path, sha256, stem, stem_of(name))
        for (key, path), name, sha256, stem in zip(found.paths.items(), shown, digests, names, strict=True)
    }
    if rows:
        return [replace(inputs[identity(row.image)], row=row) for row in rows], missing
    return [*inputs.values()], missing


def digest_of(path: Path) -> str:
    """The sha256 of a file's content; of a file that cannot be read, of its name."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return hashlib.sha256(os.fsencode(path)).hexdigest()


def read_stdin(directory: Path) -> Path:
    """Write an image from stdin to a file, and return its path.

    Raises:
        ImageError: stdin is a terminal, closed or empty.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise ImageError(f"{STDIN}: reads an image from stdin, to which nothing is connected; pipe an image into it")
    content = sys.stdin.buffer.read()
    if not content:
        raise ImageError(f"{STDIN}: stdin is empty; pipe an image into it")
    path = directory / "stdin"
    write_bytes(path, content)
    return path


class Errors:
    """Reports what is wrong with single images.

    Args:
        terminal: prints the errors.
        as_json: also print a JSON line on stdout for each.

    Attributes:
        any: whether there was an error.
    """

    def __init__(self, terminal: Terminal, *, as_json: bool) -> None:
        self.any = False
        self._terminal = terminal
        self._as_json = as_json

    def add(self, name: str, error: CfxError) -> None:
        """Report an error with the image `name`."""
        self.any = True
        self._terminal.error(str(error))
        if self._as_json:
            self._terminal.json({"schema": SCHEMA, "input": name, "error": str(error)})
