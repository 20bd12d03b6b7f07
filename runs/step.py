"""Steps: expensive tables of a run, such as features or clusters, stored with the digest of what they are made from."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..documents import to_json
from ..errors import DataError
from ..files import write_bytes, write_text

FOLDER = "steps"

Arrays = Mapping[str, np.ndarray]
"""A table as arrays by name; texts are arrays of texts, and there are no arrays of objects."""


@dataclass(frozen=True)
class Step:
    """One expensive table of a run: `RunDirectory.step` makes it.

    Attributes:
        name: of the step.
        needs: everything that it is made from, as JSON values.
        directory: of the run.
        list_files: called with the names of the files before they are written.
        note: called with a sentence where stored files are damaged.
    """

    name: str
    needs: Mapping[str, object]
    directory: Path
    list_files: Callable[[Iterable[str]], None]
    note: Callable[[str], None]

    @cached_property
    def digest(self) -> str:
        """The sha256 of what it is made from, for the steps that are made from it."""
        return hashlib.sha256(json.dumps(self.needs, sort_keys=True, default=str).encode()).hexdigest()

    def load_or(self, make: Callable[[], Arrays]) -> dict[str, np.ndarray]:
        """The stored table, or a new one, which is stored, where there is none that was made from the same.

        A damaged table is made again, with a note.

        Raises:
            OutputError: it could not be stored.
        """
        found = self._load()
        if found is not None:
            return found
        made = {name: np.asarray(values) for name, values in make().items()}
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:  # as np.savez makes it, of which old versions pickle objects
            for name, values in made.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, values, allow_pickle=False)
        about = {"needs": self.digest, "sha256": hashlib.sha256(content.getvalue()).hexdigest()}
        self.list_files([self._file(".npz"), self._file(".json")])
        write_bytes(self.directory / self._file(".npz"), content.getvalue())
        write_text(self.directory / self._file(".json"), to_json(about) + "\n")
        return made

    def _load(self) -> dict[str, np.ndarray] | None:
        """The stored table; None if there is none, if it was made from something else, or if it is damaged."""
        try:
            about = json.loads((self.directory / self._file(".json")).read_bytes())
            if about["needs"] != self.digest:
                return None
            content = (self.directory / self._file(".npz")).read_bytes()
            if hashlib.sha256(content).hexdigest() != about["sha256"]:
                raise DataError("it was changed")
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile, DataError) as error:
            self.note(f"{self.directory / self._file('.npz')}: damaged ({error}); it is made again")
            return None

    def _file(self, ending: str) -> str:
        return f"{FOLDER}/{self.name}{ending}"
