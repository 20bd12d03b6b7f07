"""Opens labelled images of every supported kind as an `ImageSet`."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from ...errors import DataError
from ...files import expanded
from .folders import open_folders
from .hugging_face import open_hf
from .image_set import ImageSet
from .table import open_table
from .torchvision_sets import NAMES, is_named, open_named


def open_images(spec: str, *, root: Path | None = None, classes: Sequence[str] | None = None) -> ImageSet:
    """Find labelled images, without reading them.

    Args:
        spec: a directory with one folder for each class (perhaps below train/ and test/); a .csv or .tsv file with
            columns path, label and perhaps split and group; one of torchvision's data sets, such as mnist,
            emnist-letters or celeba:Smiling; or hf:NAME[@CONFIG] or hf:DIRECTORY for Hugging Face's datasets.
        root: the directory of torchvision's data sets.
        classes: K class names in the order of the classifier's logits, to which labels are mapped by name. None takes
            the data set's own order, or the names found, sorted (whole numbers by value).

    Raises:
        DataError: nothing of that name exists, or it is malformed; the message names the file and the line.
        UsageError: a torchvision data set without `root`, or with an unknown split or attribute.
    """
    if spec.startswith("hf:"):
        return open_hf(spec[3:], classes)
    if is_named(spec):
        return open_named(spec, root, classes)
    path = expanded(spec)
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
