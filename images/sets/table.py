"""Image sets listed in a table of paths and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import DataError
from .image_set import ImageSet
from .labels import SPLITS, composed, labelled, settled, whole_numbers
from .pictures import FilePictures
from .rows import Row, read_rows

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img"),
    "label": ("label", "class", "target", "category", "class_name", "class_label"),
    "split": ("split", "subset", "partition"),
    "group": ("group", "person", "patient", "subject", "participant"),
}


def open_table(path: Path, classes: Sequence[str] | None) -> ImageSet:
    """Open a CSV or TSV file with columns path, label and perhaps split and group.

    Paths are relative to the file's directory.

    Raises:
        DataError: it cannot be read, or a column, cell or all rows are missing; the message names the line.
    """
    heading, *rows = read_rows(path) or [Row(1, ())]
    at = _columns(path, heading)
    paths: list[Path] = []
    names: list[str] = []
    where: list[str] = []
    groups: list[str] = []
    for row in rows:
        if len(row.cells) < len(heading.cells):
            raise DataError(
                f"{path}: line {row.line} has {len(row.cells)} cells where the header has {len(heading.cells)}"
            )
        cells = {kind: row.cells[column] for kind, column in at.items()}
        missing = [kind for kind in ("path", "label", "group") if kind in cells and not cells[kind]]
        if missing:
            raise DataError(f"{path}: line {row.line} has an empty {missing[0]}")
        split = cells.get("split", "").lower()
        if split not in SPLITS:
            raise DataError(f"{path}: line {row.line} has the split {cells['split']!r}; known are train, val and test")
        paths.append(path.parent / cells["path"])
        names.append(composed(cells["label"]))
        where.append(split)
        groups += [cells["group"]] if "group" in cells else []
    if not paths:
        raise DataError(f"{path}: a header and no rows; expected one row for each image")
    meant = whole_numbers(names)
    notes = (f"{path}: labels such as {names[0]} are taken as {meant[0]}",) if meant != names else ()
    names = meant
    if classes is not None and not set(names) & set(map(composed, classes)):
        names = _by_index(path, names, classes)
    labels, known = labelled(str(path), names, classes, sorted(set(names)), "label")
    return ImageSet(path.stem, known, labels, settled(where), FilePictures(paths), notes, tuple(groups) or None)


def _columns(path: Path, heading: Row) -> dict[str, int]:
    """The index of each kind of column; `split` and `group` are optional."""
    header = heading.cells
    if not any(header):
        raise DataError(f"{path}: is empty; expected a header such as path,label and one row for each image")
    lower = [name.lower() for name in header]
    at = {kind: lower.index(name) for kind in COLUMNS for name in reversed(COLUMNS[kind]) if name in lower}
    for kind in ("path", "label"):
        if kind not in at:
            raise DataError(
                f"{path}: line {heading.line} has no column {kind!r}; expected a header such as path,label,split, "
                f"found {', '.join(header)}"
            )
    return at


def _by_index(path: Path, labels: list[str], classes: Sequence[str]) -> list[str]:
    """Converts labels to names if all are indices. A mixture of both is ambiguous and left to fail."""
    if not all(label.isdecimal() for label in labels):
        return labels
    highest = max(labels, key=int)
    if int(highest) >= len(classes):
        raise DataError(
            f"{path}: label {highest} is not an index of the {len(classes)} classes, 0 to {len(classes) - 1}"
        )
    return [composed(classes[int(label)]) for label in labels]
