"""Tells pictures that describe photographs, such as masks and thumbnails, from the photographs of a class.

Names alone do not tell: `mask` may be a class. A name that says so is believed if the pictures look like masks or, for
words that are no likely classes, if there is a photograph of the same name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import ImageError, few
from ..decoding import decode
from ..reading import without_alpha

# Words for pictures that mark regions, and which may be classes as well: these must look like masks.
LIKELY_CLASSES = frozenset(["mask", "label", "alpha", "matte", "contour", "seg", "lesion mask", "depth", "edge"])
# Words for pictures that mark regions, or that show the photograph again.
OTHERS = frozenset(
    [
        *("segmentation", "segm", "segmentation mask", "segmentationclass", "segmentationobject", "instance mask"),
        *("gt", "groundtruth", "ground truth", "annotation", "annot", "anno", "labelmap", "label map", "mask image"),
        *("trimap", "superpixel", "saliency", "silhouette", "thumb", "thumbnail", "preview", "overlay", "heatmap"),
    ]
)
WORDS = LIKELY_CLASSES | OTHERS
PHOTOS = frozenset(["image", "img", "photo", "picture", "jpegimage", "original"])  # folders of photographs beside masks
RESULTS = frozenset(["cfx-out", "@eadir"])  # results of cfx; thumbnails that a Synology disk station writes
LONGEST = max(len(word.split()) for word in WORDS)
SINGULAR = {f"{word.split()[-1]}s": word.split()[-1] for word in WORDS | PHOTOS}

LOOKED_AT = 6  # pictures that are decoded to see whether a folder holds masks
COLOURS = 64  # a mask has no more, and in a small one an eighth of its pixels
NEAR, SHARE = 24, 0.95  # of 255; share of the pixels of a JPEG's mask that are this near to its black or white


def plain(name: str) -> str:
    """A name in lower case, with blanks between its words, and its last word in singular if that is one of ours."""
    return " ".join(_words(name))


def _words(name: str) -> list[str]:
    words = [word for word in re.split(r"[-_. ()]+", name.lower()) if word]
    return [*words[:-1], SINGULAR.get(words[-1], words[-1])] if words else [""]


def base_and_word(name: str) -> tuple[str, str]:
    """What a name says of a photograph's mask: the photograph's name, which may be empty, and the word; or "", "".

    The word is at the end, perhaps with a number, or at the beginning.
    """
    words = _words(name)
    unnumbered = words[:-1] if len(words) > 1 and words[-1].isdecimal() else words
    found = ("", "")
    for count in range(LONGEST, 0, -1):
        for base, word in (
            (words[:-count], words[-count:]),
            (words[count:], words[:count]),
            (unnumbered[:-count], unnumbered[-count:]),
        ):
            said = " ".join([*word[:-1], SINGULAR.get(word[-1], word[-1])]) if word else ""
            if said in WORDS and base:
                return " ".join(base), said
            found = ("", said) if said in WORDS and not found[1] else found
    return found


def sort_class(folder: Path, pictures: Sequence[Path]) -> tuple[list[Path], dict[str, list[Path]]]:
    """The photographs among the pictures below the folder of a class; and the others, by folder or word."""
    candidates: dict[str, list[Path]] = {}
    photos: list[Path] = []
    for path in pictures:
        parents = path.relative_to(folder).parts[:-1]
        said = next((part for part in parents if plain(part) in WORDS or part.lower() in RESULTS), None)
        (photos if said is None else candidates.setdefault(said, [])).append(path)
    if not photos:  # a class of nothing else
        return [*pictures], {}
    names = {plain(path.stem) for path in photos}
    beside: dict[str, list[Path]] = {}
    for path in photos:
        base, word = base_and_word(path.stem)
        if base and base in names:
            beside.setdefault(word, []).append(path)
    left_out = {
        name: paths for name, paths in candidates.items() if name.lower() in RESULTS or _are(plain(name), paths, names)
    }
    left_out |= {word: [*left_out.get(word, []), *paths] for word, paths in beside.items() if _are(word, paths, names)}
    gone = {path for paths in left_out.values() for path in paths}
    return [path for path in pictures if path not in gone], left_out


def sidecar_folders(folders: Mapping[Path, Sequence[Path]]) -> set[Path]:
    """Those of the folders beside one another whose pictures describe the photographs in others.

    Args:
        folders: the pictures below each folder.
    """
    found = {folder for folder in folders if folder.name.lower() in RESULTS}
    for folder, pictures in folders.items():
        base, word = base_and_word(folder.name)
        others = {plain(other.name): paths for other, paths in folders.items() if other != folder}
        if not word or (base and base not in others):
            continue
        photos = others[base] if base else [path for paths in others.values() for path in paths]
        sure = base or folder.name.lower().endswith("s")  # "gt" may be a class of cars
        if _are(word, pictures, {plain(path.stem) for path in photos} if sure else ()):
            found.add(folder)
    return found if len(found) < len(folders) else set()


def photo_folder(folders: Mapping[Path, Sequence[Path]]) -> Path | None:
    """The one folder that holds the photographs, such as images/ beside masks/; None if there is no such."""
    named = [folder for folder in folders if plain(folder.name) in PHOTOS]
    rest = [folder for folder in folders if folder not in named]
    if len(named) == 1 and all(base_and_word(each.name)[1] or each.name.lower() in RESULTS for each in rest):
        return named[0]
    return None


def notes_on(left_out: Mapping[str, Sequence[Path]], where: str) -> list[str]:
    """A note for each kind of pictures that were left out."""
    return [
        f"{where}: {len(paths)} picture{'s are' if len(paths) > 1 else ' is'} left out, because {name!r} says that "
        f"they are no photographs of a class: {few([path.name for path in paths], 3)}"
        for name, paths in left_out.items()
    ]


def _are(word: str, pictures: Sequence[Path], photos: Iterable[str]) -> bool:
    """Whether pictures are what a word says.

    Args:
        word: one of `WORDS`.
        pictures: the pictures that are called so.
        photos: the names of photographs, as `plain` gives them.
    """
    if word not in LIKELY_CLASSES:
        names, known = [plain(path.stem) for path in pictures], {*photos}
        of_photos = sum(name in known or base_and_word(name)[0] in known for name in names)
        if of_photos >= len(names) / 2:
            return True
    step = max(1, len(pictures) // LOOKED_AT)
    looked_at = [_looks_like_a_mask(path) for path in pictures[::step][:LOOKED_AT]]
    return sum(looked_at) > len(looked_at) / 2


def _looks_like_a_mask(path: Path) -> bool:
    """Whether a picture has few colours, or is black and white but for noise."""
    try:
        picture = without_alpha(decode(path), False).picture
    except ImageError:
        return False
    if picture.convert("RGB").getcolors(min(COLOURS, picture.width * picture.height // 8)) is not None:
        return True
    grey = np.asarray(picture.convert("L"), dtype=np.int16)
    return float(((grey - grey.min() <= NEAR) | (grey.max() - grey <= NEAR)).mean()) >= SHARE
