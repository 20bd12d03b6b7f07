"""Tables may name images by ids: without an ending, and without the folder that they are in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cfx.errors import DataError
from cfx.images.sets.opening import open_images
from cfx.runs.inputs import target_rows


def drawn(root: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), number, dtype=np.uint8)).save(path)


def table(root: Path, names: Sequence[str], heading: str = "image,label") -> Path:
    rows = [f"{name},{'ab'[number % 2]}" for number, name in enumerate(names)]
    (root / "train.csv").write_text("\n".join([heading, *rows]) + "\n")
    return root / "train.csv"


IDS = ["7", "x.1", "img_003", "004"]


@pytest.mark.parametrize(
    ("pattern", "cells", "says"),
    [
        ("{}.png", "{}", "4 names such as 7 are looked for with the ending .png, as 7.png"),
        ("{}.JPG", "{}", "with the ending .JPG, as 7.JPG"),
        ("train/{}.jpg", "{}", "4 names such as 7 are looked for in train with the ending .jpg, as train/7.jpg"),
        ("photos/{}.png", "{}.png", "4 names such as 7.png are looked for in photos, as photos/7.png"),
        ("deep/er/{}.png", "er/{}", "are looked for in deep with the ending .png, as deep/er/7.png"),
        ("set/{}.png", "set\\{}", "4 names such as set\\7 are looked for with the ending .png, as set/7.png"),
    ],
)
def test_ids(pattern: str, cells: str, says: str, tmp_path: Path) -> None:
    names = [pattern.format(each) for each in IDS]
    drawn(tmp_path, names)
    images = open_images(str(table(tmp_path, [cells.format(each) for each in IDS])))
    assert [images.pictures.path(index) for index in range(4)] == [tmp_path / name for name in names]
    assert images.missing is None
    assert len(images.notes) == 1 and says in images.notes[0]


def test_images_of_several_endings(tmp_path: Path) -> None:
    drawn(tmp_path, ["1.png", "2.jpg", "3.png", "4.jpg"])
    images = open_images(str(table(tmp_path, ["1", "2", "3", "4"])))
    assert images.missing is None
    assert images.notes[0].endswith("4 names such as 1 are looked for with the ending .jpg or .png, as 1.png")


def test_an_ending_that_all_have_goes_first(tmp_path: Path) -> None:
    drawn(tmp_path, ["1.png", "1.jpg", "2.png"])
    images = open_images(str(table(tmp_path, ["1", "2"])))
    assert [str(images.pictures.path(index))[-5:] for index in range(2)] == ["1.png", "2.png"]


def test_doubtful_ids_are_named(tmp_path: Path) -> None:
    drawn(tmp_path, ["1.png", "1.jpg", "2.png", "2.jpg"])
    images = open_images(str(table(tmp_path, ["1", "2"])))
    assert images.notes == (
        f"{tmp_path / 'train.csv'}: 2 names such as 1 have no ending, and files of several: .jpg, .png",
    )
    with pytest.raises(DataError, match=r"2 of 2 files listed there do not exist, such as 1 \(line 2\)"):
        assert images.missing is not None
        images.missing.check(skip=True)


@pytest.mark.parametrize("heading", ["id,label", "image_id,class", "Id,Label", "id_code,diagnosis"])
def test_headings_of_ids(heading: str, tmp_path: Path) -> None:
    drawn(tmp_path, ["1.png", "2.png"])
    assert len(open_images(str(table(tmp_path, ["1", "2"], heading)))) == 2


def test_targets_name_images_by_id(tmp_path: Path) -> None:
    drawn(tmp_path, ["1.png", "2.png", "in/3.png"])
    rows = target_rows(table(tmp_path, ["1", "2.png", "in/3"], "image,target"))
    assert [row.image for row in rows] == [tmp_path / name for name in ("1.png", "2.png", "in/3.png")]
    with pytest.raises(DataError, match=r"train\.csv: line 3: .*/9: no such file; image paths are relative to"):
        target_rows(table(tmp_path, ["1", "9"], "image,target"))


def test_a_file_that_is_lost_is_not_taken_from_elsewhere(tmp_path: Path) -> None:
    drawn(tmp_path, ["1.png", "2.png", "3.png", "old/4.png"])
    images = open_images(str(table(tmp_path, ["1.png", "2.png", "3.png", "4.png"])))
    assert images.missing is not None and images.missing.cells == ("4.png",)
