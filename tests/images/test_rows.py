"""One reader for every CSV, as people have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cfx.errors import DataError
from cfx.images.sets.labels import natural, whole_numbers
from cfx.images.sets.rows import Row, read_rows
from cfx.images.sets.table import open_table

EXPECTED = [Row(1, ("path", "label")), Row(2, ("a.png", "one, two")), Row(4, ("b.png", "x"))]


@pytest.mark.parametrize(
    "text",
    [
        'path,label\na.png,"one, two"\n\nb.png,x\n',
        "\ufeffpath;label\na.png;one, two\n;\nb.png;x",
        "path\tlabel\na.png\tone, two\n\t\nb.png\tx\n",
        'path , label\r\n a.png,"one, two" \r\n\r\nb.png,x\r\n',
        'path,label\ra.png,"one, two"\r\rb.png,x\r',
        '"path","label"\n"a.png","one, two"\n""\n"b.png","x"\n',
    ],
)
def test_separators_marks_and_line_ends(tmp_path: Path, text: str):
    path = tmp_path / "l.csv"
    path.write_bytes(text.encode())
    assert read_rows(path) == EXPECTED


@pytest.mark.parametrize("separator", [";", "|", ","])
def test_a_line_that_names_the_separator(tmp_path: Path, separator: str):
    path = tmp_path / "l.csv"
    path.write_text(f"sep={separator}\npath{separator}label\na.png{separator}x\n")
    assert read_rows(path) == [Row(2, ("path", "label")), Row(3, ("a.png", "x"))]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_by_its_name(tmp_path: Path, encoding: str):
    path = tmp_path / "l.csv"
    path.write_bytes("path,label\na.png,x\n".encode(encoding))
    with pytest.raises(DataError, match=r"text in UTF-16, as Excel's .*; save it as CSV in UTF-8"):
        read_rows(path)


@pytest.mark.parametrize("heading", ["path,label", "PATH,Label", " Path , LABEL ", "File_Name,Class"])
def test_headings_in_any_case(tmp_path: Path, heading: str):
    path = tmp_path / "l.csv"
    path.write_text(f"{heading}\na.png,x\nb.png,y\n")
    assert open_table(path, None).classes == ("x", "y")


def test_labels_of_a_column_of_floats_are_whole_numbers_in_their_order(tmp_path: Path):
    path = tmp_path / "l.csv"
    path.write_text("path,label\n" + "".join(f"{number}.png,{number}.0\n" for number in range(12)))
    images = open_table(path, None)
    assert images.classes == tuple(str(number) for number in range(12))
    assert images.labels.tolist() == list(range(12))
    assert images.notes == (f"{path}: labels such as 0.0 are taken as 0",)
    by_index = open_table(path, tuple(f"class {number}" for number in range(12)))
    assert by_index.labels.tolist() == list(range(12))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10", "9", "-1"], ["-1", "9", "10"]),
        (["10.5", "9.25", "9"], ["9", "9.25", "10.5"]),
        (["b10", "b9"], ["b10", "b9"]),
        (["10", "x"], ["10", "x"]),
    ],
)
def test_numbers_are_sorted_by_value(names: list[str], expected: list[str]):
    assert natural(names) == expected


def test_only_whole_numbers_lose_their_point():
    assert whole_numbers(["1.0", "2.00"]) == ["1", "2"]
    assert whole_numbers(["1.0", "2.5"]) == ["1.0", "2.5"]
    assert whole_numbers(["1.0", "x"]) == ["1.0", "x"]
