"""Pictures that describe photographs are no images of a class, wherever they lie; classes that are called so are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cfx.images.sets.opening import open_images
from cfx.images.sets.sidecars import base_and_word, plain

COUNT = 5


def photo(seed: int, side: int = 32) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(values)


def mask(seed: int, side: int = 32) -> Image.Image:
    values = np.zeros((side, side), dtype=np.uint8)
    values[seed % 8 : 20, 5:20] = 255
    return Image.fromarray(values)


def fill(root: Path, *patterns: str) -> Path:
    """Save pictures under names with {n} for a number; they are masks where the pattern begins with an m:."""
    for pattern in patterns:
        for number in range(COUNT):
            kind, _, name = pattern.rpartition(":")
            path = root / name.format(n=number)
            path.parent.mkdir(parents=True, exist_ok=True)
            drawn = mask(number) if kind == "m" else photo(number + len(name), 8 if kind == "t" else 32)
            drawn.save(path)
    return root


LAYOUTS = {
    "below each class": ["a/images/{n}.png", "m:a/masks/{n}.png", "b/images/{n}.png", "m:b/masks/{n}.png"],
    "below, beside the images": ["a/{n}.png", "m:a/mask/{n}_m.png", "b/{n}.png", "m:b/GroundTruth/{n}.png"],
    "beside the classes": ["a/{n}.png", "m:a_masks/{n}.png", "b/{n}.png", "m:b_mask/{n}.png"],
    "one folder of masks": ["a/{n}.png", "b/{n}.png", "m:ground_truth/a/{n}.png", "m:ground_truth/b/{n}.png"],
    "images and masks": ["images/a/{n}.jpg", "images/b/{n}.jpg", "m:masks/a/{n}.png", "m:masks/b/{n}.png"],
    "images and annotations": ["JPEGImages/a/{n}.jpg", "JPEGImages/b/{n}.jpg", "m:SegmentationClass/{n}.png"],
    "in splits": ["train/images/{s}/{n}.png", "test/images/{s}/{n}.png", "m:train/masks/{s}/{n}.png"],
    "beside each image": ["a/{n}.png", "m:a/{n}_mask.png", "b/{n}.png", "m:b/{n}_mask.png"],
    "several for an image": ["a/x ({n}).png", "m:a/x ({n})_mask_1.png", "b/y ({n}).png", "m:b/y ({n})_mask.png"],
    "word in front": ["a/{n}.png", "m:a/mask_{n}.png", "b/{n}.png", "m:b/seg-{n}.png"],
    "of ISIC": ["a/ISIC_{n}.jpg", "m:a/ISIC_{n}_segmentation.png", "b/ISIC_{n}.jpg", "b/ISIC_{n}_superpixels.png"],
    "thumbnails": ["a/{n}.png", "t:a/thumbs/{n}.png", "b/{n}.png", "t:b/{n}_thumb.png", "t:thumbnails/{n}.png"],
    "JPEG masks": ["a/{n}.jpg", "m:a/masks/{n}.jpg", "b/{n}.jpg", "m:b/{n}_mask.jpg"],
    "results of cfx": ["a/{n}.png", "b/{n}.png", "cfx-out/{n}.pixel.b.png"],
    "of a disk station": ["a/{n}.png", "b/{n}.png", "b/@eaDir/{n}.png/SYNOPHOTO_THUMB_M.jpg"],
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_describes_photographs_is_left_out(name: str, tmp_path: Path) -> None:
    patterns = [each.replace("{s}", side) for each in LAYOUTS[name] for side in ("a", "b")]
    images = open_images(str(fill(tmp_path / "set", *dict.fromkeys(patterns))))
    splits = 2 if name == "in splits" else 1
    assert images.classes == ("a", "b")
    assert images.counts().tolist() == [COUNT * splits] * 2
    paths = [str(images.pictures.path(index)) for index in range(len(images))]
    assert not [path for path in paths if "mask" in path or "thumb" in path.lower()]
    every = sum(1 for path in (tmp_path / "set").rglob("*") if path.is_file())
    named = sum(int(note.split(": ", 1)[1].split()[0]) for note in images.notes)
    assert named == every - len(images), images.notes
    assert all("left out" in note for note in images.notes)


CLASSES = {
    "faces with masks": ["mask/{n}.png", "no_mask/{n}.png"],
    "of one word": ["face/{n}.png", "face_mask/{n}.png"],
    "cars": ["gt/{n}.png", "suv/{n}.png"],
    "hands": ["thumb/{n}.png", "index/{n}.png"],
    "depth of a class": ["costume/mask/{n}.png", "costume/hat/{n}.png", "none/{n}.png"],
    "only masks": ["m:a/masks/{n}.png", "m:b/masks/{n}.png"],
    "silhouettes": ["m:cat/{n}.png", "m:dog/{n}.png"],
    "photographs called so": ["a/{n}.png", "a/{n}_mask.png", "b/{n}.png"],
    "names of classes": ["image/{n}.png", "label/{n}.png"],
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_that_are_called_so_stay(name: str, tmp_path: Path) -> None:
    images = open_images(str(fill(tmp_path / "set", *CLASSES[name])))
    wanted = Counter(pattern.rpartition(":")[2].split("/")[0] for pattern in CLASSES[name])
    assert dict(zip(images.classes, images.counts().tolist(), strict=True)) == {
        folder: COUNT * count for folder, count in wanted.items()
    }
    assert images.notes == ()


def test_loose_images_and_folders_beside_splits_are_named(tmp_path: Path) -> None:
    fill(tmp_path, "train/a/{n}.png", "train/b/{n}.png", "test/a/{n}.png", "test/b/{n}.png", "samples/{n}.png")
    photo(1).save(tmp_path / "confusion.png")
    notes = open_images(str(tmp_path)).notes
    assert f"{tmp_path}: 1 images beside the folders of classes are left out: confusion.png" in notes
    assert f"{tmp_path}: {COUNT} pictures in samples, beside the splits, are left out" in notes


def test_the_note_names_what_was_left_out(tmp_path: Path) -> None:
    fill(tmp_path, *LAYOUTS["below each class"])
    (note,) = open_images(str(tmp_path)).notes
    assert note == (
        f"{tmp_path}: {2 * COUNT} pictures are left out, because 'masks' says that they are no photographs of a class: "
        "0.png, 1.png, 2.png and 7 more"
    )


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("cat_masks", ("cat", "mask")),
        ("Ground-Truth", ("", "ground truth")),
        ("img 7_seg", ("img 7", "seg")),
        ("7_mask_2", ("7", "mask")),
        ("mask_7", ("7", "mask")),
        ("unmasked", ("", "")),
        ("thumbs", ("", "thumb")),
    ],
)
def test_names(name: str, found: tuple[str, str]) -> None:
    assert base_and_word(name) == found
    assert plain("Benign (1)") == "benign 1"
