"""Reads published counterfactuals of MNIST as their authors store them, and writes their questions as files.

Hvilshøj, Iosifidis and Assent 2021, On Quantitative Evaluations of Counterfactuals, arXiv 2111.00177, publish 10,000
counterfactuals of each of three methods, one for each test image of MNIST
(github.com/fhvilshoj/EvaluatingCounterfactuals, MIT).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...errors import DataError
from ...files import make_directory, write_text
from ...images.writing import write_picture
from .peers_exchange import Array, read_arrays

SIDE = 28
NONE_FOUND = -1
"""What `q` says where a method has found no counterfactual."""

FOLDER = "evaluating-counterfactuals"
REAL, GEN = "Real", "GEN"
METHODS = {
    "GB": "gradients (Wachter et al. 2017)",
    "GL": "gradients and prototypes (Van Looveren and Klaise 2019)",
    GEN: "ECINN, an invertible network (Hvilshøj et al. 2021)",
}
WHERE = (
    "the images are those of github.com/fhvilshoj/EvaluatingCounterfactuals; put its MNIST archives Real.npz, GB.npz, "
    f"GL.npz and GEN.npz into DIR or DIR/{FOLDER}"
)
KINDS = {"u": "unsigned integers of 8 bits", "i": "integers", "f": "numbers"}


@dataclass(frozen=True)
class Published:
    """The counterfactuals of one method, one row for each of its factuals.

    Attributes:
        name: of the method, as its authors call it.
        images: (N, 28, 28) uint8.
        targets: (N,) int64, the classes asked for; `NONE_FOUND` where there is no counterfactual.
        before: (N,) int64, what their classifier sees in the factuals.
        after: (N,) int64, what it sees in the counterfactuals.
    """

    name: str
    images: Array
    targets: Array
    before: Array
    after: Array

    @property
    def valid(self) -> Array:
        """Whether their classifier sees the target, (N,) bool."""
        return (self.after == self.targets) & (self.targets != NONE_FOUND)

    @property
    def asked(self) -> Array:
        """The rows (M,) that have a counterfactual, and whose target is not what their classifier saw already."""
        return np.flatnonzero((self.targets != NONE_FOUND) & (self.targets != self.before))

    def floats(self, rows: Sequence[int]) -> Tensor:
        """Some of the counterfactuals, (M, 1, 28, 28) in [0, 1]."""
        return torch.from_numpy(self.images[list(rows)]).float()[:, None] / 255


def find(directory: Path) -> Path:
    """The directory of the archives: the one that is named, or `FOLDER` in it.

    Raises:
        DataError: it has no archives.
    """
    inner = directory / FOLDER
    found = inner if inner.is_dir() else directory
    for name in (REAL, GEN):
        if not (found / f"{name}.npz").is_file():
            raise DataError(f"{found}: no {name}.npz; {WHERE}")
    return found


def read_real(directory: Path) -> tuple[Array, Array]:
    """The factuals, (N, 28, 28) uint8, and their labels (N,) int64.

    Raises:
        DataError: the archive is damaged or has another form.
    """
    arrays = _read(directory / f"{REAL}.npz", {"x": ("u", (None, SIDE, SIDE, 1)), "y": ("f", (None, 10))})
    return arrays["x"][..., 0], arrays["y"].argmax(axis=1).astype(np.int64)


def read_published(directory: Path, name: str, count: int) -> Published:
    """The counterfactuals of a method to `count` factuals.

    Raises:
        DataError: the archive is damaged or has another form.
    """
    columns = ("q", "orig_pred", "cf_pred")
    expected = {"cfs": ("u", (count, SIDE, SIDE)), **{column: ("i", (count,)) for column in columns}}
    path = directory / f"{name}.npz"
    arrays = _read(path, expected)
    found = Published(name, arrays["cfs"], *(arrays[column].astype(np.int64) for column in columns))
    if not ((found.targets >= NONE_FOUND) & (found.targets < 10)).all():
        raise DataError(f"{path}: q: expected digits, or {NONE_FOUND} where nothing was found")
    return found


def _read(path: Path, expected: Mapping[str, tuple[str, tuple[int | None, ...]]]) -> dict[str, Array]:
    """Read arrays of the expected kinds and shapes; None is any length."""
    try:
        arrays = read_arrays(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {WHERE}") from error
    except (OSError, ValueError, BadZipFile) as error:  # ValueError: objects, which numpy would unpickle
        raise DataError(f"{path}: not an archive of plain arrays ({error}); {WHERE}") from error
    for name, (kind, shape) in expected.items():
        if name not in arrays:
            raise DataError(f"{path}: no array {name!r}; {WHERE}")
        found = arrays[name]
        fits = found.ndim == len(shape) and all(
            want in (None, has) for want, has in zip(shape, found.shape, strict=True)
        )
        if not fits or found.dtype.kind != kind or (kind == "u" and found.dtype != np.uint8):
            wanted = " x ".join("N" if length is None else str(length) for length in shape)
            has = " x ".join(map(str, found.shape))
            raise DataError(f"{path}: {name}: expected {KINDS[kind]}, {wanted}; found {found.dtype}, {has}")
    return arrays


def write_questions(factuals: Array, methods: Sequence[Published], directory: Path) -> dict[str, Path]:
    """Write the factuals as PNG files, and for each method a file of targets, as `cfx bench --targets` reads it.

    Rows without a counterfactual, and those whose target their classifier saw already, are no questions.

    Returns:
        The files of targets, by the method's name.

    Raises:
        OutputError: a file could not be written.
    """
    make_directory(directory / "images")
    for row, pixels in enumerate(factuals):
        path = directory / picture_of(row)
        if not path.exists():
            write_picture(path, Image.fromarray(pixels))
    files: dict[str, Path] = {}
    for method in methods:
        files[method.name] = directory / f"{method.name}.csv"
        lines = [f"{picture_of(row)},{method.targets[row]}\n" for row in method.asked.tolist()]
        write_text(files[method.name], "image,target\n" + "".join(lines))
    return files


def picture_of(row: int) -> str:
    """The file of a factual, relative to the directory of the questions."""
    return f"images/{row:05d}.png"


def row_of(name: str) -> int:
    """The row of the factual in a file; the inverse of `picture_of`."""
    return int(Path(name).stem)
