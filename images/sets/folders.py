"""Image sets with one folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import DataError, few, reason_of
from ..finding import files_below, is_hidden, is_image, left_out, sorted_out
from .image_set import ImageSet
from .labels import SPLITS, composed, labelled, settled
from .pictures import FilePictures


def open_folders(root: Path, classes: Sequence[str] | None) -> ImageSet:
    """Open a directory with one folder per class, perhaps inside one folder per split; images may be nested deeper.

    Folders without images are no classes; a note names them.

    Raises:
        DataError: there are no images, no class folders, one class only, or a folder that `classes` does not name.
    """
    inside: list[Path] = []
    empty: list[Path] = []
    for folder in _folders(root):
        (inside if _holds_images(folder) else empty).append(folder)
    splits = [folder for folder in inside if folder.name.lower() in SPLITS]
    kinds = {SPLITS[folder.name.lower()] for folder in splits}
    # train/ and test/ are splits even if there are other folders, such as annotations/
    if splits and (("train" in kinds and len(kinds) > 1) or len(splits) == len(inside)):
        found = [(split, folder) for split in splits for folder in _folders(split) if not is_hidden(folder.name)]
    else:
        splits, found = [], [(root, folder) for folder in inside]
    paths: list[Path] = []
    names: list[str] = []
    where: list[str] = []
    others = [path for folder in empty if not is_hidden(folder.name) for path in files_below(folder)]
    for split, folder in found:
        images, rest = sorted_out(files_below(folder))
        others += rest
        paths += images
        names += [composed(folder.name)] * len(images)
        where += [split.name.lower() if splits else ""] * len(images)
    if not paths:
        loose = next((path for path in files_below(root) if is_image(path)), None)
        if loose is None:
            raise DataError(
                f"{root}: no images there; expected one folder for each class, with PNG or JPEG files in it"
            )
        raise DataError(
            f"{root}: images such as {loose.relative_to(root)}, but no class folders; "
            "move each class into a folder of its name, or give a CSV file with columns path,label"
        )
    held = set(names)  # a class may have images in one split only
    without = {folder.name for folder in empty} | {each.name for _, each in found if composed(each.name) not in held}
    labels, known = labelled(str(root), names, classes, sorted(held), "folder")
    notes = (*left_out(others, str(root)), *_named(sorted(without), root))
    return ImageSet(root.resolve().name, known, labels, settled(where), FilePictures(paths), notes)


def _folders(root: Path) -> list[Path]:
    try:
        inside = sorted(root.iterdir())
    except OSError as error:
        raise DataError(f"{root}: could not be listed ({reason_of(error)}); check its permissions") from error
    return [path for path in inside if path.is_dir() and not path.name.startswith(".")]


def _named(empty: list[str], root: Path) -> list[str]:
    """A note about the folders without images."""
    return [f"{root}: empty folders are left out: {few(empty)}"] if empty else []


def _holds_images(folder: Path) -> bool:
    """Whether there are images somewhere in a folder; not in the one of attributes in zip files made on macOS."""
    return not is_hidden(folder.name) and any(is_image(path) for path in files_below(folder))
