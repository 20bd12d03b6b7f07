"""Names of classes are read from the lists that people have, and found in whatever Unicode form they are written."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
import torch

from cfx.errors import DataError, UsageError
from cfx.images.sets.class_lists import read_class_list, read_classes
from cfx.images.sets.labels import class_index, distinct, labelled

NAMES = ["tench", "great hen", "owl"]
LISTS = {
    "keras.json": json.dumps({str(index): [f"n0000000{index}", name] for index, name in enumerate(NAMES)}),
    "pairs.json": json.dumps([[f"n0000000{index}", name] for index, name in enumerate(NAMES)]),
    "config.json": json.dumps({"architectures": ["X"], "id2label": dict(enumerate(NAMES)), "label2id": {}}),
    "label2id.json": json.dumps({"label2id": {name: str(index) for index, name in enumerate(NAMES)}}),
    "timm.json": json.dumps({"num_classes": 3, "pretrained_cfg": {"label_names": NAMES, "std": [1, 1, 1]}}),
    "class_to_idx.json": json.dumps({"class_to_idx": {"owl": 2, "tench": 0, "great hen": 1}}),
    "features.json": json.dumps({"features": {"names": NAMES}}),
    "objects.json": json.dumps([{"id": index, "name": name} for index, name in enumerate(NAMES)]),
    "dict.txt": str(dict(enumerate(NAMES))),
    "list.txt": str(NAMES),
    "reversed.txt": str({name: index for index, name in enumerate(NAMES)}),
    "teachable.txt": "0 tench\n1 great hen\n2 owl\n",
    "colon.txt": "2: owl\n0: tench\n1: great hen",
    "table.csv": "0,tench\n1,great hen\n2,owl",
    "synsets.txt": "n01440764 tench\nn01514668 great hen\nn01622779 owl",
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_as_people_have_them(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(LISTS[name])
    assert read_classes(tmp_path / name) == NAMES


def test_what_stands_before_the_names_is_noted(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("0 tench\n1 hen\n")
    found = read_class_list(tmp_path / "labels.txt")
    assert found.names == ("tench", "hen")
    assert found.notes == (f"{tmp_path / 'labels.txt'}: the index in front of each name is left out of it",)


@pytest.mark.parametrize("text", ["1 euro\n2 euro", "0 euro\n1 euro", "2 legs\n4 legs", "0\n1\n2", "7up\ncola"])
def test_numbers_that_are_part_of_a_name_stay(text: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(text)
    assert read_classes(tmp_path / "names.txt") == text.split("\n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "crane\nhen\ncrane"),
        ("a.json", '["crane", "hen", "crane"]'),
        ("b.txt", "cr\u00e5ne\nhen\ncra\u030ane"),
    ],
)
def test_a_name_given_twice_gets_its_index(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    found = read_class_list(tmp_path / name)
    first = found.names[0] if found.names else ""
    assert first.endswith("ne (0)")
    assert (found.names or ())[1:] == ("hen", first.replace("0", "2"))
    assert f"several classes are named {first[:-4]}: they get their index, as in {first!r}" in found.notes[0]
    with pytest.raises(UsageError, match=r"may be 'cr.ne \(0\)' and 'cr.ne \(2\)'; write it exactly"):
        class_index(first[:-4], found.names or ())


def test_a_name_that_looks_like_one_told_apart() -> None:
    assert distinct(["crane", "crane (0)", "crane"]) == ("crane (0)", "crane (0) (1)", "crane (2)")
    assert len({*distinct(["a", "a", "a (0)"])}) == 3


@pytest.mark.parametrize(
    "text", ["{'a', 'b'}", "{0: None, 1: 'b'}", "[1.5, 2.5]", '{"names": {"a": [0]}}', "{0: 'a', 2: 'b'}"]
)
def test_lists_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(DataError, match=r"names.txt: .*(list of the names|neither a list)"):
        read_classes(tmp_path / "names.txt")


@pytest.mark.parametrize(
    ("wanted", "known"),
    [
        (unicodedata.normalize("NFD", "z\u00e9ro"), "z\u00e9ro"),
        ("z\u00e9ro", unicodedata.normalize("NFD", "z\u00e9ro")),
        ("\uff23\uff21\uff34", "cat"),  # full width
        ("\ufb01sh", "fish"),  # a ligature
        ("STRASSE", "stra\u00dfe"),
        ("hot\u00a0dog", "Hot dog"),
        (unicodedata.normalize("NFD", "\u1ec7"), "\u1ec6"),
    ],
)
def test_classes_are_found_in_every_form(wanted: str, known: str) -> None:
    assert class_index(wanted, ["other", known]) == 1
    labels, names = labelled("set", [wanted, "other"], ["other", known], [wanted, "other"], "folder")
    assert torch.equal(labels, torch.tensor([1, 0]))
    assert names[0] == "other"


def test_a_folder_of_a_name_that_two_classes_have() -> None:
    with pytest.raises(DataError, match=r"set: folder class 'crane': may be 'crane \(0\)' and 'crane \(1\)'"):
        labelled("set", ["crane"], ["crane (0)", "crane (1)"], ["crane"], "folder")
