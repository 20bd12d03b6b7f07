"""Finds the files that a table names by their ids: without an ending, or without the folder that all of them are in."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...errors import few
from ..finding import EXTENSIONS, is_hidden

MANY = 200  # folders beside a table that are searched


def found_by_id(base: Path, cells: Sequence[str], where: str, *, elsewhere: bool) -> tuple[dict[int, Path], list[str]]:
    """The files of cells for which there is no file of that name.

    An ending is added if a cell has none of an image.

    Args:
        base: the directory that paths in the table are relative to.
        cells: paths in the table without a file.
        where: the table, for notes.
        elsewhere: whether folders beside the table are searched, too: the one is taken that has most of the files.

    Returns:
        The file of each cell that has exactly one, by its place in `cells`; and a note about what was added, or about
        cells that several files have the name of.
    """
    best: dict[int, list[Path]] = {}
    chosen = base
    for folder in [base, *(_folders(base) if elsewhere else [])]:
        files = _files_for(folder, cells)
        if len(files) > len(best):
            best, chosen = files, folder
        if len(best) == len(cells):
            break
    if not best:
        return {}, []
    endings = Counter(path.suffix for paths in best.values() for path in paths)
    complete = [ending for ending, count in endings.items() if count == len(best)]
    if len(complete) == 1 and complete[0]:  # copies in another format beside them, of some
        best = {place: [path for path in paths if path.suffix == complete[0]] for place, paths in best.items()}
    found = {place: paths[0] for place, paths in best.items() if len(paths) == 1}
    notes: list[str] = []
    doubtful = [cells[place] for place in best if place not in found]
    if doubtful:
        names = few(sorted(endings), 4)
        notes.append(
            f"{where}: {len(doubtful)} names such as {doubtful[0]} have no ending, and files of several: {names}"
        )
    if found:
        place, path = next(iter(found.items()))
        what = "are looked for" if chosen == base else f"are looked for in {chosen.name}"
        added = sorted({path.suffix for place, path in found.items() if path.name != Path(cells[place]).name})
        ending = f" with the ending {' or '.join(added)}" if added else ""
        notes.append(f"{where}: {len(found)} names such as {cells[place]} {what}{ending}, as {path.relative_to(base)}")
    return found, notes


def _files_for(folder: Path, cells: Sequence[str]) -> dict[int, list[Path]]:
    """The files in a folder that cells may mean, by the cells' places; cells without any are left out."""
    listed: dict[Path, dict[str, list[str]]] = {}
    found: dict[int, list[Path]] = {}
    for place, cell in enumerate(cells):
        path = folder / cell.replace("\\", "/")
        names = listed.get(path.parent)
        if names is None:
            names = listed[path.parent] = _images_by_stem(path.parent)
        if path.suffix.lower() in EXTENSIONS:
            files = [path] if path.name in names.get(path.stem, []) else []
        else:
            files = [path.with_name(name) for name in names.get(path.name, [])]
        if files:
            found[place] = files
    return found


def _images_by_stem(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError):
        return found
    for name in names:
        stem, ending = os.path.splitext(name)
        if ending.lower() in EXTENSIONS and not is_hidden(name):
            found.setdefault(stem, []).append(name)
    return found


def _folders(base: Path) -> list[Path]:
    try:
        inside = sorted(base.iterdir())
    except OSError:
        return []
    return [path for path in inside if path.is_dir() and not is_hidden(path.name)][:MANY]
