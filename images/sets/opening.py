"""Whatever labelled images a user has, as one kind of image set."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from ...errors import DataError
from .folders import open_folders
from .hugging_face import open_hf
from .image_set import ImageSet
from .table import open_table
from .torchvision_sets import NAMES, is_named, open_named


def open_images(spec: str, *, root: Path | None = None, classes: Sequence[str] | None = None) -> ImageSet:
    """Find labelled images, without reading them.

    Args:
        spec: a directory with one folder for each class (perhaps below train/ and test/); a .csv or .tsv file with
            columns path, label and perhaps split; one of torchvision's data sets, such as mnist, emnist-letters or
            celeba:Smiling; or hf:NAME[@CONFIG] or hf:DIRECTORY for Hugging Face's datasets.
        root: where torchvision's data sets lie.
        classes: K class names in the order of the classifier's logits, to which labels are mapped by name; without
            them, the names found, sorted (whole numbers as numbers), or the data set's own order.

    Raises:
        DataError: nothing of that name is there, or it is malformed; names the file and the line.
        UsageError: a data set of torchvision's without `root`, or a part of it that is unknown.
    """
    if spec.startswith("hf:"):
        return open_hf(spec[3:], classes)
    if is_named(spec):
        return open_named(spec, root, classes)
    path = Path(spec).expanduser()
    if path.is_dir():
        return open_folders(path, classes)
    if path.suffix.lower() in (".csv", ".tsv") and path.exists():
        return open_table(path, classes)
    if path.exists():
        raise DataError(f"{spec}: neither a directory nor a .csv or .tsv file; labelled images come as one of these")
    near = get_close_matches(spec.lower(), NAMES, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise DataError(
        f"{spec}: no such directory or file, and no data set of that name; {hint}known are hf:NAME, {', '.join(NAMES)}"
    )
