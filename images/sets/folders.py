"""Image sets with one folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, few, reason_of
from ..finding import files_below, is_hidden, is_image, left_out, sorted_out
from .image_set import ImageSet
from .labels import SPLITS, composed, labelled, settled
from .pictures import FilePictures
from .sidecars import notes_on, photo_folder, sidecar_folders, sort_class


@dataclass(frozen=True)
class Found:
    """The folders of classes below a directory.

    Attributes:
        folders: the split ("" for none) and the folder of each class.
        others: files that are no images of a class.
        empty: names of folders without images.
        notes: what was left out.
    """

    folders: list[tuple[str, Path]]
    others: list[Path]
    empty: list[str]
    notes: list[str]


def open_folders(root: Path, classes: Sequence[str] | None) -> ImageSet:
    """Open a directory with one folder per class, perhaps inside one folder per split; images may be nested deeper.

    Folders without images are no classes, and pictures that describe photographs, such as masks, are no images of a
    class (`sidecars.py`); notes name them.

    Raises:
        DataError: there are no images, no class folders, one class only, or a folder that `classes` does not name.
    """
    found = _find(root)
    paths: list[Path] = []
    names: list[str] = []
    where: list[str] = []
    described: dict[str, list[Path]] = {}
    for split, folder in found.folders:
        images, rest = sorted_out(files_below(folder))
        photos, left = sort_class(folder, images)
        found.others.extend(rest)
        for name, pictures in left.items():
            described.setdefault(name, []).extend(pictures)
        paths += photos
        names += [composed(folder.name)] * len(photos)
        where += [split] * len(photos)
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
    without = {*found.empty} | {each.name for _, each in found.folders if composed(each.name) not in held}
    labels, known = labelled(str(root), names, classes, sorted(held), "folder")
    notes = [*found.notes, *notes_on(described, str(root)), *left_out(found.others, str(root))]
    notes += _named(sorted(without), root)
    return ImageSet(root.resolve().name, known, labels, settled(where), FilePictures(paths), tuple(notes))


def _find(root: Path) -> Found:
    """The folders of classes: below the root, below its splits, or below images/ in one of these."""
    notes: list[str] = []
    root, inside = _photographs(root, notes)
    empty = [folder for folder in _folders(root) if folder not in inside]
    others = [path for folder in empty if not is_hidden(folder.name) for path in files_below(folder)]
    splits = [folder for folder in inside if folder.name.lower() in SPLITS]
    kinds = {SPLITS[folder.name.lower()] for folder in splits}
    found: list[tuple[str, Path]] = []
    # train/ and test/ are splits even if there are other folders, such as annotations/
    if splits and (("train" in kinds and len(kinds) > 1) or len(splits) == len(inside)):
        for folder, images in inside.items():
            if folder not in splits:
                notes.append(f"{root}: {len(images)} pictures in {folder.name}, beside the splits, are left out")
        for split in splits:
            place, of_split = _photographs(split, notes)
            found += [(split.name.lower(), each) for each in _folders(place) if not is_hidden(each.name)]
            for folder in sidecar_folders(of_split):
                notes += notes_on({folder.name: of_split[folder]}, str(split))
                found.remove((split.name.lower(), folder))
    else:
        describing = sidecar_folders(inside)
        for folder in sorted(describing):
            notes += notes_on({folder.name: inside[folder]}, str(root))
        found = [("", folder) for folder in inside if folder not in describing]
    return Found(found, others, [folder.name for folder in empty], notes)


def _photographs(root: Path, notes: list[str]) -> tuple[Path, dict[Path, list[Path]]]:
    """The folder that holds the classes, which may be images/ beside masks/; and the images below each folder in it."""
    inside = _images_below(root)
    chosen = photo_folder(inside)
    if chosen is None or len(deeper := _images_below(chosen)) < 2:
        loose = [path for path in sorted_out(_files(root))[0] if inside]
        if loose:
            names = few([path.name for path in loose], 3)
            notes.append(f"{root}: {len(loose)} images beside the folders of classes are left out: {names}")
        return root, inside
    rest = {folder.name: images for folder, images in inside.items() if folder != chosen}
    notes += notes_on(rest, str(root))
    return chosen, deeper


def _images_below(root: Path) -> dict[Path, list[Path]]:
    """The images below each folder in a directory that has some; not in the one of attributes in zip files of macOS."""
    found = {each: sorted_out(files_below(each))[0] for each in _folders(root) if not is_hidden(each.name)}
    return {folder: images for folder, images in found.items() if images}


def _files(root: Path) -> list[Path]:
    return [path for path in sorted(root.iterdir()) if path.is_file() and not is_hidden(path.name)]


def _folders(root: Path) -> list[Path]:
    try:
        inside = sorted(root.iterdir())
    except OSError as error:
        raise DataError(f"{root}: could not be listed ({reason_of(error)}); check its permissions") from error
    return [path for path in inside if path.is_dir() and not path.name.startswith(".")]


def _named(empty: list[str], root: Path) -> list[str]:
    """A note about the folders without images."""
    return [f"{root}: empty folders are left out: {few(empty)}"] if empty else []
