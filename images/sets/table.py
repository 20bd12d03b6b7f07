"""Image sets listed in a table of paths and labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from ...errors import DataError
from .ids import found_by_id
from .image_set import ImageSet
from .labels import SPLITS, composed, labelled, settled, whole_numbers
from .pictures import FilePictures
from .rows import Row, read_rows
from .unreadable import Missing

COLUMNS = {
    "path": (
        *("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img"),
        *("image_name", "img_name", "image_id", "imageid", "img_id", "id_code", "id"),
    ),
    "label": ("label", "class", "target", "category", "class_name", "class_label", "labels", "diagnosis", "breed"),
    "split": ("split", "subset", "partition"),
    "group": ("group", "person", "patient", "subject", "participant"),
}


def open_table(path: Path, classes: Sequence[str] | None) -> ImageSet:
    """Open a CSV or TSV file with columns path, label and perhaps split and group.

    Paths are relative to the file's directory. A backslash separates folders unless there is a file of that name.
    Files that do not exist stay in the set, as `ImageSet.missing`.

    Raises:
        DataError: it cannot be read, or a column, cell or all rows are missing; the message names the line.
    """
    heading, *rows = read_rows(path) or [Row(1, ())]
    at = _columns(path, heading)
    paths: list[str] = []
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
        paths.append(cells["path"])
        names.append(composed(cells["label"]))
        where.append(split)
        groups += [cells["group"]] if "group" in cells else []
    if not paths:
        raise DataError(f"{path}: a header and no rows; expected one row for each image")
    meant = whole_numbers(names)
    files, notes, missing = _located(path, paths, [row.line for row in rows])
    if meant != names:
        notes = (*notes, f"{path}: labels such as {names[0]} are taken as {meant[0]}")
    names = meant
    if classes is not None and not set(names) & set(map(composed, classes)):
        names = _by_index(path, names, classes)
    labels, known = labelled(str(path), names, classes, sorted(set(names)), "label")
    return ImageSet(
        path.stem,
        known,
        labels,
        settled(where),
        FilePictures(files),
        notes,
        tuple(groups) or None,
        missing=missing,
    )


def _located(
    table: Path, cells: Sequence[str], lines: Sequence[int]
) -> tuple[list[Path], tuple[str, ...], Missing | None]:
    """The files that the cells of a table name, a note about backslashes in them, and those that do not exist."""
    files: list[Path] = []
    converted: list[str] = []
    missing: dict[int, int] = {}
    for index, (cell, line) in enumerate(zip(cells, lines, strict=True)):
        file = table.parent / cell
        exists = os.path.exists(file)
        if not exists and "\\" in cell:
            file = table.parent / cell.replace("\\", "/")
            exists = os.path.exists(file)
            converted += [cell] if exists else []
        if not exists:
            missing[index] = line
        files.append(file)
    notes: tuple[str, ...] = ()
    if converted:
        notes = (
            f"{table}: backslashes in {len(converted)} paths such as {converted[0]} are taken as separators of folders",
        )
    places = [*missing]
    none, lost = len(missing) == len(cells), [cells[index] for index in places]
    found, says = found_by_id(table.parent, lost, str(table), elsewhere=none) if places else ({}, [])
    for place, file in found.items():
        files[places[place]] = file
        del missing[places[place]]
    notes = (*notes, *says)
    if not missing:
        return files, notes, None
    lost = [cells[index] for index in missing]
    foreign = next((cell for cell in lost if os.name != "nt" and _is_of_windows(cell)), None)
    hint = "" if foreign is None else f"{foreign} is a path of Windows, write paths relative to {table.parent}"
    return files, notes, Missing(table, len(files), missing, tuple(lost), hint)


def _is_of_windows(cell: str) -> bool:
    """Whether a path begins with a drive or is absolute on Windows alone, such as C:\\photos and \\\\server\\photos."""
    return bool(PureWindowsPath(cell).drive) or cell.startswith("\\")


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
    """Converts labels to names if all are indices, and no class is named by a number. Others are left to fail."""
    if not all(label.isdecimal() for label in labels) or any(name.isdecimal() for name in classes):
        return labels
    highest = max(labels, key=int)
    if int(highest) >= len(classes):
        raise DataError(
            f"{path}: label {highest} is not an index of the {len(classes)} classes, 0 to {len(classes) - 1}"
        )
    return [composed(classes[int(label)]) for label in labels]
