"""Image sets that lie in a user's own files: a folder for each class, or a table of paths and labels."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

from .errors import DataError, reason_of
from .images import EXTENSIONS
from .source_labels import SPLITS, composed, labelled, read_text, settled
from .source_pictures import FilePictures
from .source_set import ImageSet

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img"),
    "label": ("label", "class", "target", "category", "class_name", "class_label"),
    "split": ("split", "subset", "partition"),
}


def open_folders(root: Path, classes: Sequence[str] | None) -> ImageSet:
    """One folder a class, at any depth within; or first one folder a split.

    Raises:
        DataError: there are no images, no class folders, one class only, or a folder that `classes` does not name.
    """
    inside = _folders(root)
    splits = [folder for folder in inside if folder.name.lower() in SPLITS]
    kinds = {SPLITS[folder.name.lower()] for folder in splits}
    # train/ beside test/ are splits even with other folders there, such as annotations/
    if splits and (("train" in kinds and len(kinds) > 1) or len(splits) == len(inside)):
        found = [(split, folder) for split in splits for folder in _folders(split)]
    else:
        splits, found = [], [(root, folder) for folder in inside]
    paths: list[Path] = []
    names: list[str] = []
    where: list[str] = []
    for split, folder in found:
        images = list(_images(folder))
        paths += images
        names += [composed(folder.name)] * len(images)
        where += [split.name.lower() if splits else ""] * len(images)
    if not paths:
        loose = next(_images(root), None)
        if loose is None:
            raise DataError(
                f"{root}: no images there; expected one folder for each class, with PNG or JPEG files in it"
            )
        raise DataError(
            f"{root}: images such as {loose.relative_to(root)}, but no class folders; "
            "move each class into a folder of its name, or give a CSV file with columns path,label"
        )
    folders = sorted({composed(folder.name) for _, folder in found})
    labels, known = labelled(str(root), names, classes, folders, "folder")
    return ImageSet(root.resolve().name, known, labels, settled(where), FilePictures(paths))


def _folders(root: Path) -> list[Path]:
    try:
        inside = sorted(root.iterdir())
    except OSError as error:
        raise DataError(f"{root}: could not be listed ({reason_of(error)}); check its permissions") from error
    # zip files made on macOS bring a folder of attributes
    return [path for path in inside if path.is_dir() and not path.name.startswith(".") and path.name != "__MACOSX"]


def _images(folder: Path) -> Iterator[Path]:
    """All images at any depth, in the order of their names; links are followed, but not in circles."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                yield Path(place, name)


def open_table(path: Path, classes: Sequence[str] | None) -> ImageSet:
    """A CSV or TSV file with columns path, label and perhaps split; paths are relative to the file's folder.

    Raises:
        DataError: it cannot be read, a column is missing, or a row is; names the line.
    """
    text = read_text(path)
    head = text.split("\n", 1)[0]
    # a spreadsheet of a country that writes 0,5 separates cells by semicolons
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in head and "," not in head else ","
    rows = csv.reader(StringIO(text), delimiter=delimiter)
    paths: list[Path] = []
    names: list[str] = []
    where: list[str] = []
    try:
        header = [cell.strip() for cell in next(rows, [])]
        at = _columns(path, header)
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) < len(header):
                raise DataError(f"{path}: line {rows.line_num} has {len(row)} cells where the header has {len(header)}")
            cells = {kind: row[column].strip() for kind, column in at.items()}
            missing = [kind for kind in ("path", "label") if not cells[kind]]
            if missing:
                raise DataError(f"{path}: line {rows.line_num} has an empty {missing[0]}")
            split = cells.get("split", "").lower()
            if split not in SPLITS:
                raise DataError(
                    f"{path}: line {rows.line_num} has the split {cells['split']!r}; known are train, val and test"
                )
            paths.append(path.parent / cells["path"])
            names.append(composed(cells["label"]))
            where.append(split)
    except csv.Error as error:
        raise DataError(f"{path}: line {rows.line_num} is not CSV ({error}); export it again") from error
    if not paths:
        raise DataError(f"{path}: a header and no rows; expected one row for each image")
    if classes is not None and not set(names) & set(map(composed, classes)):
        names = _by_index(path, names, classes)
    labels, known = labelled(str(path), names, classes, sorted(set(names)), "label")
    return ImageSet(path.stem, known, labels, settled(where), FilePictures(paths))


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """Where each kind of column is; `split` only if it is there."""
    if not any(header):
        raise DataError(f"{path}: is empty; expected a header such as path,label and one row for each image")
    lower = [name.lower() for name in header]
    at = {kind: lower.index(name) for kind in COLUMNS for name in reversed(COLUMNS[kind]) if name in lower}
    for kind in ("path", "label"):
        if kind not in at:
            raise DataError(
                f"{path}: line 1 has no column {kind!r}; expected a header such as path,label,split, "
                f"found {', '.join(header)}"
            )
    return at


def _by_index(path: Path, labels: list[str], classes: Sequence[str]) -> list[str]:
    """Labels that are all indices, as names. In a mixture of both, "1" could be either, so it is left to fail."""
    if not all(label.isdecimal() for label in labels):
        return labels
    highest = max(labels, key=int)
    if int(highest) >= len(classes):
        raise DataError(
            f"{path}: label {highest} is not an index of the {len(classes)} classes, 0 to {len(classes) - 1}"
        )
    return [composed(classes[int(label)]) for label in labels]
