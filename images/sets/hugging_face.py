"""Image sets of Hugging Face's `datasets`: a name on the hub, or a directory written by `save_to_disk`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError, ImageError, reason_in_brackets
from ...files import expanded
from .image_set import ImageSet
from .labels import SPLITS, composed, labelled, settled
from .pictures import EncodedPictures

LABEL_COLUMNS = ("label", "labels", "class", "target", "category")


def open_hf(name: str, classes: Sequence[str] | None) -> ImageSet:
    """Open a data set with one column of images and one of labels, under any names.

    Args:
        name: NAME or NAME@CONFIG on the hub (downloaded if it is not in the cache), or a directory.
        classes: K names in the order of the logits; None takes the data set's own.

    Raises:
        DataError: `datasets` is not installed, the set cannot be loaded, or its columns are ambiguous.
    """
    try:
        library: Any = importlib.import_module("datasets")
    except ImportError as error:
        raise DataError(f"hf:{name}: needs Hugging Face's datasets; install it with: pip install datasets") from error
    spec = f"hf:{name}"
    found = _get(library, name)
    splits: dict[str, Any] = dict(found) if isinstance(found, library.DatasetDict) else {str(found.split or ""): found}
    image, label = _columns(library, spec, next(iter(splits.values())).features)
    pictures: list[tuple[Any, int]] = []  # the images of a split, and the row among them
    names: list[str] = []
    where: list[str] = []
    own: list[str] = []
    for split, rows in splits.items():
        kind = rows.features[label]
        own = [composed(each) for each in getattr(kind, "names", ())]
        images = rows.select_columns([image]).cast_column(image, library.Image(decode=False))
        for row, value in enumerate(rows[label]):
            if value is None or (own and value < 0):  # test splits without labels are stored like this
                continue
            pictures.append((images, row))
            names.append(own[value] if own else composed(str(value)))
            where.append(split.lower() if split.lower() in SPLITS else "")
    if not pictures:
        raise DataError(f"{spec}: holds no labelled images")

    def encoded(index: int) -> bytes:
        images, row = pictures[index]
        kept = images[row][image]
        try:
            return kept["bytes"] if kept["bytes"] is not None else Path(kept["path"]).read_bytes()
        except (OSError, TypeError) as error:
            raise ImageError(f"{spec}: image {index} is missing ({reason_in_brackets(error)})") from error

    targets, known = labelled(spec, names, classes or own or None, own or sorted(set(names)), "class")
    size = sum(rows.data.nbytes for rows in splits.values())
    return ImageSet(
        spec,
        known,
        targets,
        settled(where),
        EncodedPictures(len(names), encoded, lambda at: f"{spec}: image {at}", size),
    )


def _get(library: Any, name: str) -> Any:
    directory = expanded(name)
    try:
        if directory.is_dir():
            return library.load_from_disk(str(directory))
        repository, _, config = name.partition("@")
        return library.load_dataset(repository, config or None)
    except Exception as error:  # the network, the hub and a missing config raise different errors
        what = "could not be read as a directory of save_to_disk" if directory.is_dir() else "could not be loaded"
        raise DataError(
            f"hf:{name}: {what} ({reason_in_brackets(error)}); check the name, and the config after @"
        ) from error


def _columns(library: Any, spec: str, features: Any) -> tuple[str, str]:
    """The names of the image column and of the label column."""
    images = [name for name, kind in features.items() if isinstance(kind, library.Image)]
    labels = [name for name, kind in features.items() if isinstance(kind, library.ClassLabel)]
    # without a ClassLabel, a column of numbers or words with a usual name
    labels = labels or [name for name in features if name.lower() in LABEL_COLUMNS]
    for wanted, found, usual in (("image", images, "image"), ("label", labels, "label")):
        if usual in found:
            found[:] = [usual]
        if len(found) != 1:
            raise DataError(
                f"{spec}: {len(found) or 'no'} {wanted} columns among {', '.join(features)}; keep just one "
                "(select_columns), write the set with save_to_disk, and give hf:DIRECTORY"
            )
    return images[0], labels[0]
