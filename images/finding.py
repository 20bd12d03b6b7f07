"""Finds image files by name, directory or pattern; what is not taken is named."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

from ..errors import ImageError, few, reason_of
from ..files import expanded
from .faults import HEAD, format_of

EXTENSIONS = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".jp2", ".gif", ".webp", ".avif"),
    *(".tif", ".tiff", ".bmp", ".dib", ".ico", ".pbm", ".pgm", ".ppm", ".pnm", ".heic", ".heif", ".hif"),
)
NAMED = 3  # files that a note names; it counts the others
# What macOS and Windows write beside a user's files; names with a leading dot (.DS_Store, ._photo.png) are hidden, too.
OF_THE_SYSTEM = frozenset(["__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"])


class Found(NamedTuple):
    """Image files in the order in which they were asked for, and sentences about what was not taken."""

    paths: list[Path]
    notes: list[str]


def find_images(patterns: Sequence[str], *, recursive: bool = False) -> Found:
    """Expand files, directories and globs to image files.

    Of a directory, the files with an image's extension are taken, links that lead nowhere among them, and files of
    another extension that begin like an image. Keeps the order of the patterns, sorts within each directory and glob,
    and takes each file once, however it is reached. Hidden files are left out.

    Args:
        patterns: files, directories and globs; `~` is the home directory.
        recursive: take the images of folders below a directory, too.

    Raises:
        ImageError: a file is missing, a directory has no images, a glob matches nothing.
    """
    found = OneOfEach()
    notes: list[str] = []
    for pattern in patterns:
        matches = _matches(os.fspath(pattern), recursive)
        notes += matches.notes
        for path in matches.paths:
            found.add(path)
    return Found([*found.paths.values()], [*notes, *found.notes()])


class OneOfEach:
    """Files, each once, however it is reached: by another spelling, a link, or a folder that is linked into itself.

    Attributes:
        paths: the first path to each file, by what the file is.
    """

    def __init__(self) -> None:
        self.paths: dict[object, Path] = {}
        self._again: list[tuple[Path, Path]] = []

    def add(self, path: Path) -> None:
        """Add a file, unless it is there."""
        first = self.paths.setdefault(identity(path), path)
        if os.path.abspath(first) != os.path.abspath(path):
            self._again.append((path, first))

    def notes(self) -> list[str]:
        """A note about files that were reached in several ways."""
        if not self._again:
            return []
        path, first = self._again[0]
        more = f" (and {len(self._again) - 1} more of this kind)" if len(self._again) > 1 else ""
        return [f"{path}: is the same file as {first}, and is taken once{more}"]


def identity(path: Path) -> object:
    """What a file is, however it is reached; of one that does not exist, its path."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.abspath(path)
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no user's own: hidden, or written by macOS or Windows."""
    return name.startswith(".") or name.lower() in OF_THE_SYSTEM


def is_image(path: Path) -> bool:
    """Whether a file has an image's extension or begins like an image."""
    if path.suffix.lower() in EXTENSIONS:
        return path.is_file() or path.is_symlink()
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    # The signatures of BMP and ICO are so weak that other files have them, too.
    return format_of(head) not in (None, "BMP", "ICO", "PPM")


def sorted_out(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The images among files, and the other files."""
    images: list[Path] = []
    others: list[Path] = []
    for path in files:
        (images if is_image(path) else others).append(path)
    return images, others


def existing(pattern: str) -> Path:
    """The path or glob of images, with `~` expanded.

    Raises:
        ImageError: it is empty, or neither a glob nor the name of something that exists.
    """
    if not pattern:
        raise ImageError("'': an empty file name; give an image, a directory or a glob")
    path = expanded(pattern)
    if not (path.exists() or path.is_symlink() or has_magic(pattern)):
        raise ImageError(f"{pattern}: no such file; check the name and the directory")
    return path


def left_out(files: Sequence[Path], where: str) -> list[str]:
    """A note about files that are no images; none if there are none."""
    if not files:
        return []
    what = "file is no image and is" if len(files) == 1 else "files are no images and are"
    return [f"{where}: {len(files)} {what} left out: {few([file.name for file in files], NAMED)}"]


def _matches(pattern: str, recursive: bool) -> Found:
    path = existing(pattern)
    if path.is_dir():
        return _of_directory(path, recursive)
    if path.exists() or path.is_symlink():  # before globs, because a file may be named "digit[1].png"
        return Found([path], [])
    matched = _below(path) if "**" in path.parts else [Path(name) for name in sorted(glob(str(path)))]
    files = [each for each in matched if not each.is_dir()]
    folders = [each for each in matched if each.is_dir() and "**" not in pattern]
    if not files:
        raise ImageError(f"{pattern}: matches no file; check the pattern and its directory")
    names = few([str(folder) for folder in folders], NAMED)
    return Found(files, [f"{pattern}: matches folders, which are not searched: {names}"] if folders else [])


def _below(pattern: Path) -> list[Path]:
    """The files that match a glob with `**` in it. Python's own goes round in folders linked into themselves."""
    parts = pattern.parts
    at = parts.index("**")
    start = str(Path(*parts[:at]))
    places = [Path(name) for name in sorted(glob(start))] if has_magic(start) else [Path(start)]
    return [path for place in places for path in files_below(place) if _fits(path.relative_to(place).parts, parts[at:])]


def _fits(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the names of folders and a file match the parts of a glob, of which `**` stands for any number."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        return _fits(names, pattern[1:]) or (bool(names) and _fits(names[1:], pattern))
    return bool(names) and fnmatchcase(names[0], pattern[0]) and _fits(names[1:], pattern[1:])


def _of_directory(directory: Path, recursive: bool) -> Found:
    try:
        inside = sorted(path for path in directory.iterdir() if not is_hidden(path.name))
    except OSError as error:
        raise ImageError(f"{directory}: could not be listed ({reason_of(error)}); check its permissions") from error
    folders = [path for path in inside if path.is_dir()]
    files = files_below(directory) if recursive else (path for path in inside if not path.is_dir())
    images, others = sorted_out(files)
    notes = left_out(others, str(directory))
    if not recursive and folders:
        deeper = sum(1 for folder in folders for path in files_below(folder) if path.suffix.lower() in EXTENSIONS)
        names = few([folder.name for folder in folders], NAMED)
        if deeper and not images:
            raise ImageError(f"{directory}: no images in it, but {deeper} in folders below ({names}); use --recursive")
        if deeper:
            notes.append(f"{directory}: {deeper} images in folders below ({names}) are left out; see --recursive")
    if not images:
        other = f" ({'; '.join(note.partition(': ')[2] for note in notes)})" if notes else ""
        raise ImageError(f"{directory}: a directory without images{other}; give one that holds PNG or JPEG files")
    return Found(images, notes)


def files_below(directory: Path) -> Iterator[Path]:
    """All files below a directory that are not hidden, sorted by name; links are followed, and cycles are detected."""
    seen: set[str] = set()
    for place, folders, files in os.walk(directory, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(files):
            if not is_hidden(name):
                yield Path(place, name)
