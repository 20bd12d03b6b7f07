"""Whatever labelled images a user has are found, counted, read and cut, or refused in one line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import struct
import threading
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cfx.errors import CfxError, DataError, UsageError
from cfx.images.decoding import Decoded
from cfx.images.scale import Scale
from cfx.images.sets import image_set as source_set
from cfx.images.sets.class_lists import read_classes
from cfx.images.sets.image_set import ImageSet, bytes_needed
from cfx.images.sets.labelled import Labelled, looks_light_on_dark
from cfx.images.sets.labels import class_index
from cfx.images.sets.opening import open_images
from cfx.images.sets.pictures import FilePictures
from cfx.images.sets.split import SUBSETS, sample_by_class, split_by_class

GREY = (1, 28, 28)


@pytest.fixture(scope="module")
def real(digits: tuple[Tensor, Tensor]) -> tuple[np.ndarray, list[int]]:
    """400 real digits as bytes, (400, 28, 28), and their labels, no longer class by class."""
    order = torch.arange(400) * 7 % 400
    return (digits[0][order, 0] * 255).round().to(torch.uint8).numpy(), digits[1][order].tolist()


@pytest.fixture(scope="module")
def folders(real: tuple[np.ndarray, list[int]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 real digits as PNG files, in a folder for each class; not to be changed."""
    root = tmp_path_factory.mktemp("folders")
    for index, (image, label) in enumerate(zip(*real, strict=True)):
        put(root / str(label) / f"{index:03d}.png", image)
    return root


def put(path: Path, image: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def refusal(act: Callable[[], object], kind: type[CfxError] = DataError) -> str:
    """The sentence of an error that must come."""
    with pytest.raises(kind) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    return message


def everything(images: ImageSet) -> Labelled:
    return images.load(torch.arange(len(images)), GREY).data


# --- folders ----------------------------------------------------------------------------------------------


def test_folders_come_through_bit_for_bit(folders: Path, real: tuple[np.ndarray, list[int]]) -> None:
    found = open_images(str(folders))
    data = everything(found)
    assert found.classes == tuple("0123456789")
    assert found.counts().tolist() == [40] * 10
    assert set(found.splits) == {""}
    expected = torch.from_numpy(real[0])[torch.tensor(real[1]).argsort(stable=True)]
    assert torch.equal(data.images[:, 0], expected)
    assert torch.equal(data.labels, torch.arange(10).repeat_interleave(40))


def test_nested_and_hidden_files(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    image = real[0][0]
    put(tmp_path / "cat" / "deep" / "er" / "a.PNG", image)
    put(tmp_path / "cat" / "._b.png", image)
    put(tmp_path / "cat" / ".thumbnails" / "c.png", image)
    put(tmp_path / "dog" / "d.bmp", image)
    put(tmp_path / ".cache" / "e.png", image)
    put(tmp_path / "__MACOSX" / "f.png", image)
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    (tmp_path / "dog" / "again").symlink_to(tmp_path / "dog", target_is_directory=True)
    (tmp_path / "eel").mkdir()
    found = open_images(str(tmp_path))
    assert found.classes == ("cat", "dog")
    assert found.counts().tolist() == [1, 1]
    assert found.notes == (
        f"{tmp_path}: 1 file is no image and is left out: notes.txt",
        f"{tmp_path}: empty folders are left out: __MACOSX, eel",
    )


SYSTEM_FILES = ("Thumbs.db", "desktop.ini", ".DS_Store", "._x.png")


@pytest.mark.parametrize("splits", [("",), ("train", "test")], ids=["classes", "train and test"])
@pytest.mark.parametrize("classes", [None, ["dog", "cat"]], ids=["as found", "given"])
def test_folders_without_images_are_no_classes(
    tmp_path: Path, real: tuple[np.ndarray, list[int]], splits: tuple[str, ...], classes: list[str] | None
) -> None:
    for place, split in enumerate(splits):
        put(tmp_path / split / "cat" / "a.png", real[0][0])
        put(tmp_path / split / "dog" / "b.png", real[0][1])
        for folder in ("cat", "dog", "hidden", "__MACOSX"):
            (tmp_path / split / folder / "deep").mkdir(parents=True)
            for name in SYSTEM_FILES:
                (tmp_path / split / folder / name).write_bytes(b"\xd0\xcf\x11\xe0 no image")
        (tmp_path / split / f"empty {place}").mkdir()
    (tmp_path / "bare").mkdir()
    found = open_images(str(tmp_path), classes=classes)
    assert found.classes == tuple(classes or ("cat", "dog"))
    assert found.counts().tolist() == [len(splits)] * 2
    (note,) = found.notes
    assert note.startswith(f"{tmp_path}: empty folders are left out: ")
    named = {"bare", "hidden", *(f"empty {place}" for place in range(len(splits)))}
    assert named <= set(note.partition("left out: ")[2].split(", ")) <= {*named, "__MACOSX"}


def test_a_class_may_have_images_in_one_split_only(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    for name in ("train/cat", "train/dog", "test/cat"):
        put(tmp_path / name / "a.png", real[0][0])
    (tmp_path / "test" / "dog").mkdir()
    (tmp_path / "val").mkdir()
    found = open_images(str(tmp_path))
    assert found.classes == ("cat", "dog") and found.counts().tolist() == [2, 1]
    assert found.notes == (f"{tmp_path}: empty folders are left out: val",)


def test_an_empty_folder_does_not_make_a_second_class(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    put(tmp_path / "cat" / "a.png", real[0][0])
    (tmp_path / "dog").mkdir()
    assert "images of one class only ('cat')" in refusal(lambda: open_images(str(tmp_path)))


def test_whole_numbers_sort_as_numbers(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    for name in ("10", "9", "1"):
        put(tmp_path / "numbers" / name / "a.png", real[0][0])
        put(tmp_path / "words" / f"class {name}" / "a.png", real[0][0])
    assert open_images(str(tmp_path / "numbers")).classes == ("1", "9", "10")
    assert open_images(str(tmp_path / "words")).classes == ("class 1", "class 10", "class 9")


def test_composed_and_decomposed_accents_are_one_name(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    put(tmp_path / "cafe\u0301" / "a.png", real[0][0])
    put(tmp_path / "the" / "b.png", real[0][1])
    found = open_images(str(tmp_path), classes=["the", "caf\u00e9"])
    assert found.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "test"), {"train": "train", "test": "test"}),
        (("Train", "val"), {"Train": "train", "val": "test"}),
        (("train", "valid", "test"), {"train": "train", "valid": "train", "test": "test"}),
        (("train",), {"train": "train"}),
        (("train", "validation", "annotations"), {"train": "train", "validation": "test"}),
    ],
)
def test_split_folders(
    tmp_path: Path, real: tuple[np.ndarray, list[int]], names: tuple[str, ...], expected: dict[str, str]
) -> None:
    for name in names:
        put(tmp_path / name / "cat" / "a.png", real[0][0])
        put(tmp_path / name / "dog" / "b.png", real[0][1])
    found = open_images(str(tmp_path))
    assert found.classes == ("cat", "dog")
    assert found.splits == tuple(expected[name] for name in sorted(expected) for _ in range(2))


def test_classes_may_be_called_valid_and_invalid(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    for name in ("valid", "invalid"):
        put(tmp_path / name / "camera" / "a.png", real[0][0])
    assert open_images(str(tmp_path)).classes == ("invalid", "valid")


def test_given_classes_set_the_order(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    for name in ("cat", "dog"):
        put(tmp_path / name / "a.png", real[0][0])
    found = open_images(str(tmp_path), classes=["dog", "horse", "cat"])
    assert found.classes == ("dog", "horse", "cat")
    assert found.labels.tolist() == [2, 0]
    assert found.counts().tolist() == [1, 0, 1]
    message = refusal(lambda: open_images(str(tmp_path), classes=["dogs", "horse", "cat"]))
    assert "folder 'dog' is none of the 3 classes given; the nearest is 'dogs'" in message


def test_folders_refused(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    message = refusal(lambda: open_images(str(tmp_path)))
    assert message.startswith(f"{tmp_path}: no images there; expected one folder for each class")
    put(tmp_path / "loose" / "a.png", real[0][0])
    message = refusal(lambda: open_images(str(tmp_path / "loose")))
    assert "images such as a.png, but no class folders" in message
    put(tmp_path / "split" / "train" / "a.png", real[0][0])
    put(tmp_path / "split" / "test" / "b.png", real[0][0])
    message = refusal(lambda: open_images(str(tmp_path / "split")))
    assert "but no class folders" in message
    put(tmp_path / "one" / "cat" / "a.png", real[0][0])
    message = refusal(lambda: open_images(str(tmp_path / "one")))
    assert "images of one class only ('cat'); there must be at least two classes" in message


def test_nothing_of_that_name(tmp_path: Path) -> None:
    message = refusal(lambda: open_images("cifar-10"))
    assert "no such directory or file, and no data set of that name; did you mean 'cifar10'? known are" in message
    assert "hf:NAME" in message and "celeba:ATTRIBUTE" in message
    (tmp_path / "a.txt").write_text("x")
    message = refusal(lambda: open_images(str(tmp_path / "a.txt")))
    assert "neither a directory nor a .csv or .tsv file" in message


# --- tables -----------------------------------------------------------------------------------------------


def table(path: Path, text: str, encoding: str = "utf-8") -> str:
    path.write_bytes(text.encode(encoding))
    return str(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "path,label,split\n{0},cat,train\n{1},dog,test\n"),
        ("a.csv", "\ufeffFilename,Class,Split\r\n{0},cat,Train\r\n\r\n{1}, dog ,TEST\r\n"),
        ("a.tsv", "id\timage\ttarget\tsubset\n7\t{0}\tcat\ttraining\n8\t{1}\tdog\tval\n"),
        ("a.csv", "file;category;partition\n{0};cat;train\n{1};dog;validation\n"),
        ("A.CSV", 'path,label,note,split\n{0},cat,"two\nlines, quoted",train\n{1},dog,,test\n'),
    ],
)
def test_tables(tmp_path: Path, real: tuple[np.ndarray, list[int]], name: str, text: str) -> None:
    put(tmp_path / "in" / "x.png", real[0][0])
    absolute = put(tmp_path / "y.png", real[0][1])
    found = open_images(table(tmp_path / name, text.format("in/x.png", absolute)))
    assert found.name in ("a", "A")
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 1]
    assert found.splits == ("train", "test")
    assert np.array_equal(everything(found).images[:, 0].numpy(), real[0][:2])


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (("1", "0"), ["cat", "dog"], [1, 0]),  # indices
        (("1", "0"), ["1", "0"], [0, 1]),  # names that look like indices are names
        (("dog", "cat"), ["cat", "dog"], [1, 0]),
        (("10", "9"), None, [1, 0]),
    ],
)
def test_labels_of_tables(
    tmp_path: Path, labels: tuple[str, str], classes: list[str] | None, expected: list[int]
) -> None:
    spec = table(tmp_path / "a.csv", f"path,label\na.png,{labels[0]}\nb.png,{labels[1]}\n")
    assert open_images(spec, classes=classes).labels.tolist() == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; expected a header such as path,label"),
        ("path,label\n", "a header and no rows"),
        ("a.png,cat\nb.png,dog\n", "line 1 has no column 'path'; expected a header such as path,label,split, found a"),
        ("path,colour\na.png,red\n", "line 1 has no column 'label'"),
        ("path,label\na.png,cat\nb.png\n", "line 3 has 1 cells where the header has 2"),
        ('path,note,label\na.png,"x\ny",cat\nb.png\n', "line 4 has 1 cells where the header has 3"),
        ("path,label\na.png,cat\n,dog\n", "line 3 has an empty path"),
        ("path,label\na.png,\n", "line 2 has an empty label"),
        ("path,label,split\na.png,cat,fold3\n", "line 2 has the split 'fold3'; known are train, val and test"),
        ("path,label\na.png,cat\nb.png,cat\n", "images of one class only ('cat')"),
        ("path,label\n" + "a" * 200_000 + ",cat\n", "line 2 is not CSV (field larger than field limit"),
    ],
)
def test_tables_refused(tmp_path: Path, text: str, said: str) -> None:
    spec = table(tmp_path / "a.csv", text)
    message = refusal(lambda: open_images(spec))
    assert message.startswith(spec)
    assert said in message


def test_table_that_is_not_utf8(tmp_path: Path) -> None:
    spec = table(tmp_path / "a.csv", "path,label\na.png,caf\u00e9\n", "latin-1")
    assert refusal(lambda: open_images(spec)) == f"{spec}: is not a UTF-8 text file; save it as UTF-8"


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("dgo", "label 'dgo' is none of the 2 classes given; the nearest is 'dog'"),
        ("2", "label 2 is not an index of the 2 classes, 0 to 1"),
    ],
)
def test_labels_that_are_no_classes(tmp_path: Path, label: str, said: str) -> None:
    spec = table(tmp_path / "a.csv", f"path,label\na.png,{label}\n")
    assert said in refusal(lambda: open_images(spec, classes=["cat", "dog"]))


def test_labels_that_could_be_names_or_indices_are_not_guessed(tmp_path: Path) -> None:
    spec = table(tmp_path / "a.csv", "path,label\na.png,0\nb.png,1\n")
    assert "label '0' is none of the 2 classes given" in refusal(lambda: open_images(spec, classes=["1", "2"]))


@pytest.mark.skipif(os.name == "nt", reason="there a backslash is in no file name")
def test_backslashes_separate_folders_unless_there_is_a_file_of_that_name(
    tmp_path: Path, real: tuple[np.ndarray, list[int]]
) -> None:
    put(tmp_path / "train" / "cat" / "1.png", real[0][0])
    put(tmp_path / "train" / "dog" / "2.png", real[0][1])
    put(tmp_path / "odd\\name.png", real[0][2])
    put(tmp_path / "odd" / "name.png", real[0][3])
    spec = table(tmp_path / "a.csv", "path,label\ntrain\\cat\\1.png,cat\ntrain\\dog\\2.png,dog\nodd\\name.png,dog\n")
    found = open_images(spec)
    assert found.missing is None
    assert np.array_equal(everything(found).images[:, 0].numpy(), real[0][:3])
    assert found.notes == (
        f"{spec}: backslashes in 2 paths such as train\\cat\\1.png are taken as separators of folders",
    )


def listed(tmp_path: Path, real: tuple[np.ndarray, list[int]], count: int, absent: Collection[int]) -> str:
    """A table of `count` digits in line 2 and after, some of whose files do not exist."""
    rows = ["path,label"]
    for index in range(count):
        if index not in absent:
            put(tmp_path / f"{index}.png", real[0][index])
        rows.append(f"{index}.png,{real[1][index]}")
    return table(tmp_path / "a.csv", "\n".join(rows))


def test_missing_files_of_a_table_stay_in_the_set_and_are_left_out_on_loading(
    tmp_path: Path, real: tuple[np.ndarray, list[int]]
) -> None:
    found = open_images(listed(tmp_path, real, 300, {15, 16, 17}))
    assert len(found) == 300
    assert found.missing is not None and [*found.missing.lines.items()] == [(15, 17), (16, 18), (17, 19)]
    found.missing.check(skip=False)
    assert found.missing.warning() == (
        "3 of 300 files listed in a.csv do not exist and are left out, such as 15.png (line 17)"
    )
    loaded = found.load(torch.arange(100), GREY)  # 3 of 100 are more than 1 %, but 3 of 300 are not
    assert len(loaded.data) == 97 and loaded.broken == ()
    assert found.existing(torch.tensor([17, 3, 15])).tolist() == [3]
    survey = found.survey(count=300)
    assert survey.looked_at == 297 and survey.broken == ()


def test_many_missing_files_of_a_table_are_refused_with_their_lines(
    tmp_path: Path, real: tuple[np.ndarray, list[int]]
) -> None:
    spec = listed(tmp_path, real, 100, range(5, 10))
    missing = open_images(spec).missing
    assert missing is not None
    message = refusal(lambda: missing.check(skip=False))
    assert message == (
        f"{spec}: 5 of 100 files listed there do not exist, such as 5.png (line 7), 6.png (line 8), 7.png (line 9) and "
        f"2 more; paths are relative to {tmp_path}: correct them; cfx init --skip-unreadable leaves out any number of "
        "them"
    )
    missing.check(skip=True)


@pytest.mark.skipif(os.name == "nt", reason="there these paths may exist")
@pytest.mark.parametrize("cell", ["C:\\photos\\1.png", "d:/photos/1.png", "\\\\server\\photos\\1.png"])
def test_paths_of_another_system_are_named(tmp_path: Path, cell: str) -> None:
    missing = open_images(table(tmp_path / "a.csv", f"path,label\n{cell},cat\n{cell},dog\n")).missing
    assert missing is not None
    message = refusal(lambda: missing.check(skip=True))
    assert f"2 of 2 files listed there do not exist, such as {cell} (line 2)" in message
    assert f"; {cell} is a path of Windows, write paths relative to {tmp_path}: correct them" in message


# --- class names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["cat\nbig dog\n\n \n", "\ufeffcat\r\nbig dog", '["cat", "big dog"]', '{"1": "big dog", "0": "cat"}',
     '{"cat": 0, "big dog": 1}'],
)  # fmt: skip
def test_class_names(tmp_path: Path, text: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(text.encode())
    assert read_classes(path) == ["cat", "big dog"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "cat\n\ndog\n", "line 2 is empty; give every class a name"),
        ("a.json", '["cat", ""]', "index 1 is empty"),
        ("a.txt", "cat\n", "holds 1 class names; a classifier has at least two"),
        ("a.txt", "\n", "line 1 is empty"),
        ("a.json", "cat, dog", "is not valid JSON"),
        ("a.json", '{"0": "cat", "2": "dog"}', "its indices are not 0, 1, 2, ... each once"),
        ("a.json", '{"cat": 0, "dog": 0}', "its indices are not 0, 1, 2, ... each once"),
        ("a.json", "[[1], [2]]", "neither a list of names nor a mapping"),
        ("a.json", "3", "neither a list of names nor a mapping"),
    ],
)
def test_class_names_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    message = refusal(lambda: read_classes(path))
    assert message.startswith(str(path))
    assert said in message


def test_missing_class_names(tmp_path: Path) -> None:
    message = refusal(lambda: read_classes(tmp_path / "none.txt"))
    assert "none.txt: could not be read (no such file or directory)" in message


# --- survey -----------------------------------------------------------------------------------------------


def test_survey_of_digits(folders: Path) -> None:
    survey = open_images(str(folders)).survey()
    assert survey.size == survey.smallest == survey.largest == (28, 28)
    assert survey.same_size
    assert survey.channels == 1
    assert survey.looked_at == 200
    assert survey.bytes_on_disk == sum(path.stat().st_size for path in folders.rglob("*.png"))


def test_survey_of_many_sizes(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    image = real[0][0]
    sideways = Image.Exif()
    sideways[0x0112] = 6
    for index in range(3):
        put(tmp_path / "a" / f"{index}.jpg", np.repeat(image[:20], 2, axis=0)[:, :, None].repeat(3, 2), exif=sideways)
    put(tmp_path / "b" / "wide.png", np.repeat(image, 3, axis=1))
    survey = open_images(str(tmp_path)).survey()
    assert survey.size == (28, 40)  # as seen, not as stored
    assert (survey.smallest, survey.largest) == ((28, 40), (28, 84))
    assert not survey.same_size
    assert survey.channels == 1  # RGB, and grey in content
    loaded = open_images(str(tmp_path)).load(torch.tensor([0]), (1, *survey.size)).data.images[0, 0]
    turned = np.rot90(np.repeat(image[:20], 2, axis=0), -1)
    assert np.abs(loaded.numpy().astype(int) - turned).mean() < 4  # JPEG keeps no byte as it was
    put(tmp_path / "b" / "red.png", np.stack([image, image // 2, image // 2], axis=2))
    (tmp_path / "b" / "broken.png").write_bytes(b"\x89PNG\r\n")
    survey = open_images(str(tmp_path)).survey()
    assert survey.channels == 3
    assert survey.looked_at == 6
    assert len(survey.broken) == 1 and "broken.png: not an image that cfx can read" in survey.broken[0]


def test_survey_is_the_same_for_a_seed(folders: Path) -> None:
    found = open_images(str(folders))
    assert found.survey(count=5, seed=1) == found.survey(count=5, seed=1)
    assert found.survey(count=5).looked_at == 5


def test_survey_without_one_image(tmp_path: Path) -> None:
    found = open_images(table(tmp_path / "a.csv", "path,label\na.png,cat\nb.png,dog\n"))
    assert "a: none of 2 images could be read; the first is " in refusal(found.survey)


# --- transparency -----------------------------------------------------------------------------------------


def cut_out(path: Path, image: np.ndarray, shade: int | None = None, colour: bool = False) -> None:
    """A digit whose ground is transparent, in its own greys or of one shade."""
    values = np.repeat((image if shade is None else np.full_like(image, shade))[:, :, None], 3, axis=2)
    values[..., 2] //= 1 + colour
    put(path, np.dstack([values, np.where(image > 0, 255, 0).astype(np.uint8)]))


@pytest.mark.parametrize(
    ("shade", "colour", "ground"),
    [(None, False, "black"), (40, False, "white"), (170, False, "black"), (170, True, "white"), (240, True, "black")],
)
def test_one_ground_for_all_transparent_images(
    tmp_path: Path, real: tuple[np.ndarray, list[int]], shade: int | None, colour: bool, ground: str
) -> None:
    for index in range(30):
        cut_out(tmp_path / str(index % 3) / f"{index}.png", real[0][index], shade, colour)
    put(tmp_path / "0" / "opaque.png", real[0][99])
    survey = open_images(str(tmp_path)).survey()
    assert (survey.ground, survey.transparent, survey.looked_at) == (ground, 30, 31)
    assert survey.channels == (3 if colour else 1)


def test_transparent_digits_are_read_as_the_opaque_ones(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    for index in range(60):
        cut_out(tmp_path / "alpha" / str(real[1][index]) / f"{index}.png", real[0][index])
        put(tmp_path / "grey" / str(real[1][index]) / f"{index}.png", real[0][index])
    alpha, grey = open_images(str(tmp_path / "alpha")), open_images(str(tmp_path / "grey"))
    assert not torch.equal(everything(alpha).images, everything(grey).images), "each by itself: some are laid on white"
    laid = dataclasses.replace(alpha, ground=alpha.survey().ground)
    assert torch.equal(everything(laid).images, everything(grey).images)
    assert grey.survey().ground is None and grey.survey().transparent == 0


def test_no_ground_if_nothing_is_visible(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / name / "x.png", np.zeros((8, 8, 4), np.uint8))
    survey = open_images(str(tmp_path)).survey()
    assert survey.transparent == 2 and survey.brightness is None and survey.ground is None


def test_only_images_that_may_be_transparent_are_decoded(
    folders: Path, tmp_path: Path, real: tuple[np.ndarray, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(20):
        put(
            tmp_path / "ab"[index % 2] / f"{index}.png", np.stack([real[0][index], *[255 - real[0][index]] * 2], axis=2)
        )
    cut_out(tmp_path / "a" / "alpha.png", real[0][0])
    decoded: list[int] = []
    original = FilePictures.decoded

    def counted(self: FilePictures, index: int, scale: Scale | None = None) -> Decoded:
        decoded.append(index)
        return original(self, index, scale)

    monkeypatch.setattr(FilePictures, "decoded", counted)
    assert open_images(str(folders)).survey().channels == 1 and decoded == []
    assert open_images(str(tmp_path)).survey().channels == 3 and len(decoded) <= 3


# --- loading ----------------------------------------------------------------------------------------------


def test_load_keeps_the_order_asked_for_and_reports(folders: Path) -> None:
    found = open_images(str(folders))
    whole = everything(found)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(3))
    told: list[int] = []

    class Told:
        def advance(self, count: int = 1, **figures: float) -> None:
            told.append(count)

    loaded = found.load(order, GREY, task=Told())
    assert torch.equal(loaded.indices, order)
    assert torch.equal(loaded.data.images, whole.images[order])
    assert torch.equal(loaded.data.labels, whole.labels[order])
    assert sum(told) == 400 and len(told) > 5 and min(told) > 0
    assert len(found.load(torch.arange(0), GREY).data) == 0


def test_load_in_another_shape(folders: Path) -> None:
    data = open_images(str(folders)).load(torch.arange(5), (3, 20, 30)).data
    assert data.images.shape == (5, 3, 20, 30)
    assert torch.equal(data.images[:, 0], data.images[:, 2])
    assert data.images.dtype == torch.uint8


def test_few_broken_files_are_left_out_and_named(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    for index in range(250):
        put(tmp_path / "ab"[index % 2] / f"{index:03d}.png", real[0][index])
    for index in (10, 21):
        path = tmp_path / "ab"[index % 2] / f"{index:03d}.png"
        path.write_bytes(path.read_bytes()[:100])
    found = open_images(str(tmp_path))
    loaded = found.load(torch.arange(250), GREY)
    assert len(loaded.data) == len(loaded.indices) == 248
    assert sorted(path.split(":")[0][-7:] for path in loaded.broken) == ["010.png", "021.png"]
    everyone = [*range(0, 250, 2), *range(1, 250, 2)]
    kept = [everyone[index] for index in loaded.indices.tolist()]
    assert np.array_equal(loaded.data.images[:, 0].numpy(), real[0][kept])
    assert torch.equal(loaded.data.labels, found.labels[loaded.indices])
    message = refusal(lambda: found.load(torch.arange(150), GREY))  # 2 of 150 are more than 1 %
    assert "2 of 150 images could not be read" in message
    assert "010.png: the image is cut off or damaged" in message and "021.png" in message
    assert message.endswith("; cfx init --skip-unreadable leaves out any number of them")
    skipping = dataclasses.replace(found, skip_unreadable=True).load(torch.arange(150), GREY)
    assert len(skipping.data) == 148 and len(skipping.broken) == len(skipping.unreadable) == 2
    assert len(found.load(torch.arange(20), GREY).broken) == 1  # one file alone is no pattern


def test_many_missing_files(tmp_path: Path) -> None:
    rows = "".join(f"{index}.png,{'cat' if index % 2 else 'dog'}\n" for index in range(9))
    found = open_images(table(tmp_path / "a.csv", "path,label\n" + rows))
    message = refusal(lambda: everything(found))
    assert "a: 9 of 9 images could not be read" in message
    assert all(f"{index}.png: no such file" in message for index in range(3)) and "3.png" not in message
    assert "1 of 1 images could not be read" in refusal(lambda: found.load(torch.tensor([4]), GREY))


def test_load_leaves_warnings_and_threads_as_they_were(folders: Path) -> None:
    filters, threads = list(warnings.filters), threading.active_count()
    everything(open_images(str(folders)))
    assert list(warnings.filters) == filters
    assert threading.active_count() == threads


def test_load_that_is_interrupted_ends_its_threads(folders: Path) -> None:
    filters, threads = list(warnings.filters), threading.active_count()

    class Stop:
        def advance(self, count: int = 1, **figures: float) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_images(str(folders)).load(torch.arange(400), GREY, task=Stop())
    assert list(warnings.filters) == filters
    assert threading.active_count() == threads


def test_load_refuses_what_does_not_fit_in_memory(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bytes_needed(10, (3, 20, 30)) == 18_000
    found = open_images(str(folders))
    needed = bytes_needed(400, GREY)
    monkeypatch.setattr(source_set, "available", lambda device: int(needed / 0.59))
    assert len(everything(found)) == 400
    monkeypatch.setattr(source_set, "available", lambda device: int(needed / 0.61))
    message = refusal(lambda: everything(found))
    assert "400 images of 1x28x28 need 0.0 GiB of memory, more than 60% of the 0.0 GiB that are free" in message
    monkeypatch.setattr(source_set, "available", lambda device: None)
    assert len(everything(found)) == 400


def test_load_refuses_odd_requests(folders: Path) -> None:
    found = open_images(str(folders))
    message = refusal(lambda: found.load(torch.arange(2), (2, 28, 28)), UsageError)
    assert "only images of 1 or 3 channels" in message
    message = refusal(lambda: found.load(torch.arange(2), GREY, resize="padd"), UsageError)
    assert "unknown fit 'padd': did you mean 'pad'?" in message


def test_load_passes_fit_on(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    wide = np.concatenate([real[0][0], np.full((28, 28), 255, np.uint8)], axis=1)
    put(tmp_path / "a" / "x.png", wide)
    put(tmp_path / "b" / "x.png", wide)
    found = open_images(str(tmp_path))
    pad, crop, stretch = (
        found.load(torch.tensor([0]), GREY, resize=resize).data.images for resize in ("pad", "crop", "stretch")
    )
    assert torch.equal(crop[0, 0], torch.from_numpy(wide[:, 14:42]))
    assert not torch.equal(pad, crop) and not torch.equal(pad, stretch)
    assert (stretch[0, 0, :, 15:] == 255).all() and not (pad[0, 0, :, 15:] == 255).all()


# --- torchvision's sets -----------------------------------------------------------------------------------


def write_idx(path: Path, values: np.ndarray) -> None:
    """The format of MNIST: http://yann.lecun.com/exdb/mnist/"""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes())


@pytest.mark.parametrize(
    ("spec", "folder", "prefixes", "classes"),
    [
        ("mnist", "MNIST", ("train", "t10k"), tuple("0123456789")),
        ("KMNIST", "KMNIST", ("train", "t10k"), ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
        ("emnist:digits", "EMNIST", ("emnist-digits-train", "emnist-digits-test"), tuple("0123456789")),
    ],
)
def test_sets_in_the_format_of_mnist(
    tmp_path: Path,
    real: tuple[np.ndarray, list[int]],
    spec: str,
    folder: str,
    prefixes: tuple[str, str],
    classes: tuple[str, ...],
) -> None:
    images, labels = real[0], np.array(real[1], np.uint8)
    for prefix, part in zip(prefixes, (slice(0, 300), slice(300, 400)), strict=True):
        write_idx(tmp_path / folder / "raw" / f"{prefix}-images-idx3-ubyte", images[part])
        write_idx(tmp_path / folder / "raw" / f"{prefix}-labels-idx1-ubyte", labels[part])
    found = open_images(spec, root=tmp_path)
    assert found.classes == classes
    assert found.splits == ("train",) * 300 + ("test",) * 100
    order = torch.tensor([399, 0, 5])
    loaded = found.load(order, GREY)
    assert np.array_equal(loaded.data.images[:, 0].numpy(), images[order])
    assert loaded.data.labels.tolist() == labels[order].tolist()
    assert found.survey().size == (28, 28) and found.survey().channels == 1
    reverse = open_images(spec, root=tmp_path, classes=classes[::-1])
    assert torch.equal(reverse.labels, 9 - found.labels)
    colour = found.load(order, (3, 28, 28)).data.images
    assert torch.equal(colour, loaded.data.images.expand(3, 3, 28, 28))


def test_letters_of_emnist_count_from_zero(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    for part in ("train", "test"):
        write_idx(tmp_path / "EMNIST" / "raw" / f"emnist-letters-{part}-images-idx3-ubyte", real[0][:26])
        write_idx(
            tmp_path / "EMNIST" / "raw" / f"emnist-letters-{part}-labels-idx1-ubyte", np.arange(1, 27, dtype="u1")
        )
    found = open_images("emnist-letters", root=tmp_path)
    assert "".join(found.classes) == "abcdefghijklmnopqrstuvwxyz"
    assert found.labels.tolist() == [*range(26), *range(26)]


def pickled(path: Path, content: dict[str, Any]) -> list[str]:
    """The file's name and md5, as torchvision lists them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return [path.name, hashlib.md5(path.read_bytes()).hexdigest()]


def test_cifar(tmp_path: Path, real: tuple[np.ndarray, list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    padded = np.pad(real[0][:30], ((0, 0), (2, 2), (2, 2)))
    planes = np.stack([padded, 255 - padded, padded // 2], axis=1)  # (N, 3, 32, 32): each channel differs
    folder = tmp_path / "cifar-10-batches-py"
    rows = planes.reshape(30, -1)
    train = pickled(folder / "data_batch_1", {"data": rows[:20], "labels": real[1][:20]})
    test = pickled(folder / "test_batch", {"data": rows[20:], "labels": real[1][20:30]})
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    meta = pickled(folder / "batches.meta", {"label_names": names})
    monkeypatch.setattr(CIFAR10, "train_list", [train])
    monkeypatch.setattr(CIFAR10, "test_list", [test])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    found = open_images("cifar10", root=tmp_path)
    assert found.classes == tuple(names)
    assert found.splits == ("train",) * 20 + ("test",) * 10
    loaded = found.load(torch.arange(30), (3, 32, 32)).data
    assert np.array_equal(loaded.images.numpy(), planes)
    assert loaded.labels.tolist() == real[1][:30]
    assert found.survey().channels == 3
    message = refusal(
        lambda: open_images("cifar10", root=tmp_path, classes=["car" if "auto" in n else n for n in names])
    )
    assert "class 'automobile' is none of the 10 classes given" in message


def test_svhn(tmp_path: Path, real: tuple[np.ndarray, list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    io = pytest.importorskip("scipy.io")
    from torchvision.datasets import SVHN

    padded = np.pad(real[0][:40], ((0, 0), (2, 2), (2, 2)))
    planes = np.stack([padded, 255 - padded, padded // 2], axis=1)
    labels = np.array([label or 10 for label in real[1][:40]], np.uint8)[:, None]  # SVHN writes 10 for the digit 0
    listed = {}
    for split, part in (("train", slice(0, 30)), ("test", slice(30, 40))):
        path = tmp_path / f"{split}_32x32.mat"
        io.savemat(path, {"X": planes[part].transpose(2, 3, 1, 0), "y": labels[part]})
        listed[split] = ["", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", listed)
    found = open_images("svhn", root=tmp_path)
    loaded = found.load(torch.arange(40), (3, 32, 32)).data
    assert np.array_equal(loaded.images.numpy(), planes)
    assert loaded.labels.tolist() == real[1][:40]
    assert found.splits == ("train",) * 30 + ("test",) * 10


@pytest.fixture
def celeba(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> Path:
    folder = tmp_path / "celeba"
    for index in range(4):
        put(folder / "img_align_celeba" / f"{index:06d}.jpg", real[0][index][:, :, None].repeat(3, 2))
    smiling = (1, -1, -1, 1)
    rows = "".join(f"{index:06d}.jpg -1 {value:2d}\n" for index, value in enumerate(smiling))
    (folder / "list_attr_celeba.txt").write_text(f"4\nBald Smiling \n{rows}")
    parts = "".join(f"{index:06d}.jpg {part}\n" for index, part in enumerate((0, 1, 2, 2)))
    (folder / "list_eval_partition.txt").write_text(parts)
    return tmp_path


def test_celeba(celeba: Path) -> None:
    found = open_images("celeba:Smiling", root=celeba)
    assert found.classes == ("not Smiling", "Smiling")
    assert found.labels.tolist() == [1, 0, 0, 1]
    assert found.splits == ("train", "train", "test", "test")
    assert len(everything(found)) == 4
    message = refusal(lambda: open_images("celeba:smilling", root=celeba), UsageError)
    assert "unknown attribute of CelebA 'smilling': did you mean 'Smiling'?" in message
    assert "unknown attribute" in refusal(lambda: open_images("celeba", root=celeba), UsageError)
    (celeba / "celeba" / "list_eval_partition.txt").write_text("000000.jpg 0\n")
    assert "do not match; download them again" in refusal(lambda: open_images("celeba:Bald", root=celeba))


@pytest.mark.parametrize(
    ("spec", "kind", "folder"),
    [
        ("mnist", "MNIST", "MNIST/raw"),
        ("fashion-mnist", "FashionMNIST", "FashionMNIST/raw"),
        ("kmnist", "KMNIST", "KMNIST/raw"),
        ("emnist-balanced", "EMNIST", "EMNIST/raw"),
        ("cifar10", "CIFAR10", "cifar-10-batches-py"),
        ("cifar100", "CIFAR100", "cifar-100-python"),
        ("svhn", "SVHN", ""),
        ("celeba:Smiling", "CelebA", "celeba"),
    ],
)
def test_missing_sets_say_where_they_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, kind: str, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refusal(lambda: open_images(spec, root=tmp_path / "data"))
    assert message.startswith(f"{tmp_path / 'data'}: no {kind} there")
    assert str(tmp_path / "data" / folder) in message
    assert "directory of that name" not in message
    assert "give the directory of torchvision's data sets" in refusal(lambda: open_images(spec), UsageError)


def test_a_directory_that_is_named_like_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert "for the directory of that name here give ./mnist" in refusal(lambda: open_images("mnist", root=tmp_path))
    assert "./mnist: no images there" in "./" + refusal(lambda: open_images("./mnist", root=tmp_path))


def test_unknown_split_of_emnist_and_damaged_file(tmp_path: Path) -> None:
    message = refusal(lambda: open_images("emnist:leters", root=tmp_path), UsageError)
    assert "unknown split of EMNIST 'leters': did you mean 'letters'?" in message
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        path = tmp_path / "MNIST" / "raw" / f"{name}-ubyte"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"cut")
    message = refusal(lambda: open_images("mnist", root=tmp_path))
    assert "train-images-idx3-ubyte is not an IDX file; download it again" in message


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_whole_sets_pass_through(data_root: Path, name: str) -> None:
    from torchvision import datasets

    kind = {"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST}[name]
    found = open_images(name, root=data_root)
    assert len(found) == 70_000
    test = torch.tensor([split == "test" for split in found.splits]).nonzero().flatten()
    loaded, known = found.load(test, GREY).data, kind(str(data_root), train=False)
    assert torch.equal(loaded.images, known.data[:, None]) and torch.equal(loaded.labels, known.targets)
    assert looks_light_on_dark(loaded)
    split = split_by_class(found.labels, found.splits)
    assert abs(len(split.train) + len(split.held_out) - 30_000) <= 10  # one at most for each class
    assert 1990 <= len(split.held_out) <= 2000
    assert sorted(split.test.tolist()) == test.tolist()


# --- Hugging Face -----------------------------------------------------------------------------------------


def test_hugging_face_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    message = refusal(lambda: open_images("hf:mnist"))
    assert message == "hf:mnist: needs Hugging Face's datasets; install it with: pip install datasets"


def test_hugging_face_directory(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    library = pytest.importorskip("datasets")
    features = library.Features({"digit": library.ClassLabel(names=list("0123456789")), "picture": library.Image()})

    def part(start: int, stop: int, labels: list[int]) -> Any:
        pictures = [Image.fromarray(image) for image in real[0][start:stop]]
        return library.Dataset.from_dict({"picture": pictures, "digit": labels}, features=features)

    train, test = part(0, 30, real[1][:30]), part(30, 40, [-1, *real[1][31:40]])  # -1: without an answer
    library.DatasetDict({"train": train, "validation": test}).save_to_disk(str(tmp_path / "saved"))
    found = open_images(f"hf:{tmp_path / 'saved'}")
    assert found.classes == tuple("0123456789")
    assert found.splits == ("train",) * 30 + ("test",) * 9
    data = everything(found)
    assert np.array_equal(data.images[:, 0].numpy(), np.delete(real[0][:40], 30, axis=0))
    assert data.labels.tolist() == [*real[1][:30], *real[1][31:40]]
    survey = found.survey()
    assert survey.size == (28, 28) and survey.channels == 1 and survey.bytes_on_disk > 39 * 100
    named = open_images(f"hf:{tmp_path / 'saved'}", classes=list("9876543210"))
    assert torch.equal(named.labels, 9 - found.labels)
    train.rename_column("digit", "answer").cast_column("answer", library.Value("int64")).save_to_disk(
        str(tmp_path / "b")
    )
    message = refusal(lambda: open_images(f"hf:{tmp_path / 'b'}"))
    assert "no label columns among" in message and "select_columns" in message
    plain = train.rename_column("digit", "Label").cast_column("Label", library.Value("int64"))
    plain.save_to_disk(str(tmp_path / "c"))
    assert open_images(f"hf:{tmp_path / 'c'}").labels.tolist() == found.labels[:30].tolist()
    (tmp_path / "d").mkdir()
    message = refusal(lambda: open_images(f"hf:{tmp_path / 'd'}"))
    assert "could not be read as a directory of save_to_disk" in message


def test_hugging_face_broken_image(tmp_path: Path, real: tuple[np.ndarray, list[int]]) -> None:
    library = pytest.importorskip("datasets")
    whole = put(tmp_path / "a.png", real[0][0]).read_bytes()
    pictures = [{"bytes": whole, "path": None}, {"bytes": whole[:90], "path": None}]
    features = library.Features({"label": library.ClassLabel(names=["x", "y"]), "image": library.Image()})
    library.Dataset.from_dict({"image": pictures, "label": [0, 1]}, features=features).save_to_disk(str(tmp_path / "s"))
    loaded = open_images(f"hf:{tmp_path / 's'}").load(torch.arange(2), GREY)
    assert loaded.indices.tolist() == [0]
    assert "image 1: the image is cut off or damaged" in loaded.broken[0]


# --- light on dark ----------------------------------------------------------------------------------------


def test_light_on_dark(real: tuple[np.ndarray, list[int]]) -> None:
    images = torch.from_numpy(real[0]).unsqueeze(1)
    labels = torch.tensor(real[1])
    assert looks_light_on_dark(Labelled(images, labels))
    assert not looks_light_on_dark(Labelled(255 - images, labels))
    assert not looks_light_on_dark(Labelled(images.expand(-1, 3, -1, -1), labels))
    assert not looks_light_on_dark(Labelled(images // 20, labels))  # nothing lighter than the ground by much
    assert not looks_light_on_dark(Labelled(images[:0], labels[:0]))
    mixed = torch.cat([images[:85], 255 - images[85:100]])
    assert not looks_light_on_dark(Labelled(mixed, labels[:100]))


# --- the split --------------------------------------------------------------------------------------------


def test_split_of_a_set_without_a_test_split() -> None:
    sizes = [400, 40, 8, 7, 0]
    labels = torch.arange(5).repeat_interleave(torch.tensor(sizes))
    split = split_by_class(labels, [""] * len(labels), seed=1)
    every = [index for name in SUBSETS for index in split.subset(name).tolist()]
    assert len(every) == len(set(every)) == 448
    assert split.too_few == (3,)
    assert split_by_class(labels, [""] * len(labels), seed=1, classes=5).too_few == (3, 4)
    counts = {name: torch.bincount(labels[split.subset(name)], minlength=3).tolist() for name in SUBSETS}
    assert counts == {
        "train": [153, 16, 3],
        "held_out": [17, 1, 1],
        "judge_train": [153, 16, 2],
        "judge_held_out": [17, 1, 1],
        "test": [60, 6, 1],
    }
    assert split.train.tolist() != sorted(split.train.tolist())


@pytest.mark.parametrize("count", range(8, 30))
def test_every_part_has_some_of_every_class(count: int) -> None:
    labels = torch.tensor([0] * count + [1] * 8)
    split = split_by_class(labels, [""] * len(labels))
    assert split.too_few == ()
    assert all(set(labels[split.subset(name)].tolist()) == {0, 1} for name in SUBSETS)
    every = [index for name in SUBSETS for index in split.subset(name).tolist()]
    assert sorted(every) == list(range(len(labels)))


def test_split_keeps_the_sets_own_test_split() -> None:
    labels = torch.arange(2).repeat(100)
    splits = ["test" if index < 60 else "train" if index < 100 else "" for index in range(200)]
    split = split_by_class(labels, splits)
    assert sorted(split.test.tolist()) == list(range(60))
    assert len(split.train) + len(split.held_out) == len(split.judge_train) + len(split.judge_held_out) == 70
    alone = torch.cat([labels, torch.full((20,), 2), torch.full((20,), 3)])
    split = split_by_class(alone, [*splits, *["train"] * 20, *["test"] * 17, *["train"] * 3])
    assert torch.bincount(alone[split.test]).tolist() == [30, 30, 3]  # class 2 has no test images of its own
    assert split.too_few == (3,)  # and class 3 only three others


def test_split_follows_the_seed_alone() -> None:
    labels = torch.arange(4).repeat(50)
    torch.manual_seed(1)
    one = split_by_class(labels, [""] * 200, seed=5)
    torch.manual_seed(2)
    two, other = split_by_class(labels, [""] * 200, seed=5), split_by_class(labels, [""] * 200, seed=6)
    assert all(torch.equal(one.subset(name), two.subset(name)) for name in SUBSETS)
    assert not any(torch.equal(one.subset(name), other.subset(name)) for name in SUBSETS)


def test_held_out_has_a_ceiling() -> None:
    labels = torch.arange(3).repeat(20_000)
    split = split_by_class(labels, ["train"] * 60_000)
    for name in ("held_out", "judge_held_out"):
        assert 1990 <= len(split.subset(name)) <= 2000
        counts = torch.bincount(labels[split.subset(name)])
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("labels", [[], [0, 0, 1, 1]])
def test_split_of_too_few(labels: list[int]) -> None:
    message = refusal(lambda: split_by_class(torch.tensor(labels, dtype=torch.int64), [""] * len(labels)))
    assert "no class has 8 images" in message


def test_a_sample_has_every_class_in_its_share_and_rare_ones_at_all() -> None:
    labels = torch.tensor([0] * 6000 + [1] * 3000 + [2] * 20)
    order = torch.randperm(9020, generator=torch.Generator().manual_seed(0))
    sample = sample_by_class(labels, order, 900)
    assert torch.bincount(labels[sample]).tolist() == [599, 299, 8]
    place = {index: at for at, index in enumerate(order.tolist())}
    assert [place[index] for index in sample.tolist()] == sorted(place[index] for index in sample.tolist())
    assert torch.equal(sample_by_class(labels, order[:800], 900), order[:800])


def test_bundles_write_what_read_classes_reads(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(["T-shirt/top", "Trouser"]))
    assert read_classes(path) == ["T-shirt/top", "Trouser"]


@pytest.mark.parametrize(
    ("wanted", "classes", "index"),
    [
        ("cat", ["dog", "cat"], 1),
        ("1", ["dog", "cat"], 1),
        ("2", ["dog", "cat"], None),
        ("3", ["1", "2", "3"], 2),
        ("0", ["1", "2", "3"], None),  # a number is a name here: class "1" is not meant
        ("0", ["1", "other"], None),
        ("egyptian  CAT", ["Egyptian cat", "dog"], 0),
    ],
)
def test_an_index_is_never_taken_for_a_name(wanted: str, classes: list[str], index: int | None):
    assert class_index(wanted, classes) == index


def test_a_label_that_is_a_number_is_no_index_where_classes_are_numbers(tmp_path: Path):
    for place in range(4):
        Image.new("L", (8, 8), place).save(tmp_path / f"{place}.png")
    (tmp_path / "labels.csv").write_text(
        "path,label\n" + "".join(f"{place}.png,{place % 2 * 9}\n" for place in range(4))
    )
    with pytest.raises(DataError, match="label '0' is none of the 3 classes given"):
        open_images(str(tmp_path / "labels.csv"), classes=["1", "2", "3"])
