"""Reserves the names of results in a directory, so that processes that write there at once take different ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..errors import OutputError, reason_of
from ..files import remedy_of, remove
from .explain_inputs import Input
from .naming import inputs_in, numbered

ENDING = "claimed"  # of the hidden file that reserves a name


class ClaimedNames:
    """The names of results that this process has reserved.

    A name is reserved by a file that only one process can create; it holds the digest of the image, whose other
    results may have the same name. Once there is a record, its own digest protects the name.

    Args:
        out: directory of the results.
        planned: the names that this process is going to claim.
    """

    def __init__(self, out: Path, planned: Sequence[str]) -> None:
        self._out = out
        self._taken = {stem.casefold() for stem in planned}
        self._files: dict[str, Path] = {}

    @classmethod
    @contextmanager
    def opened(cls, out: Path, planned: Sequence[str]) -> Iterator[ClaimedNames]:
        """The names, which are given back when the context ends."""
        names = cls(out, planned)
        try:
            yield names
        finally:
            remove(names._files.values())

    def claim(self, inputs: Sequence[Input]) -> list[Input]:
        """Reserve the names of the results of images, or others where these have been taken since they were planned.

        Raises:
            OutputError: the directory cannot be written to.
        """
        found: dict[int, Input] = {}
        pending = dict(enumerate(inputs))
        while pending:
            tried = {place: self._next(each) for place, each in pending.items()}
            before = inputs_in(self._out, {each.stem.casefold() for each in tried.values()})
            for place, each in tried.items():
                name = each.stem.casefold()
                if before.get(name, each.sha256) == each.sha256:
                    found[place] = each
                    del pending[place]
                else:  # of a process that has just finished
                    remove([self._files.pop(name)] if name in self._files else [])
                    pending[place] = self._renamed(each)
        return [found[place] for place in range(len(inputs))]

    def _next(self, each: Input) -> Input:
        while not self._create(each.stem.casefold(), each.sha256):
            each = self._renamed(each)
        return each

    def _renamed(self, each: Input) -> Input:
        """The image with the next name that is not taken by this process."""
        number = 2
        while numbered(each.own, number).casefold() in self._taken:
            number += 1
        stem = numbered(each.own, number)
        self._taken.add(stem.casefold())
        return replace(each, stem=stem)

    def _create(self, name: str, sha256: str) -> bool:
        """Whether a name could be reserved, or is reserved for results of the same image."""
        if name in self._files:
            return True
        path = self._out / f".{name}.{ENDING}"
        try:
            with open(path, "x", encoding="ascii") as file:
                file.write(sha256)
        except FileExistsError:
            try:
                return path.read_text(encoding="ascii") == sha256
            except OSError:  # just given back
                return False
        except OSError as error:
            raise OutputError(f"{path}: could not be written ({reason_of(error)}); {remedy_of(error)}") from error
        self._files[name] = path
        return True
