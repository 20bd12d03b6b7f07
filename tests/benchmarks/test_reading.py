"""The study of reading: sheets show answers and nothing else, and what was read is counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cfx.benchmarks.compare import Finished, read_finished
from cfx.benchmarks.studies.reading import (
    CLASSES,
    GAP,
    KEY,
    TITLE,
    UNREAD,
    choose,
    count,
    read_answers,
    read_key,
    write_sheets,
)
from cfx.errors import DataError, UsageError
from cfx.images.sets.class_lists import read_classes


@pytest.fixture
def finished(make, perform) -> Finished:
    return read_finished(perform(make("vcnet", "pixel")).path)


def test_sheets_hold_the_answers_that_the_key_names(finished, tmp_path):
    chosen = choose([finished], [], 12, seed=0)
    assert Counter(item.engine for item, _ in chosen) == {"vcnet": 6, "nearest-accepted": 6}, "no other control"
    assert chosen != choose([finished], [], 12, seed=1)
    (sheet,) = write_sheets([finished], chosen, tmp_path / "out")
    key = read_key(tmp_path / "out" / KEY)
    assert [*key.values()] == [item for item, _ in chosen]
    picture = np.array(Image.open(sheet).convert("L"))
    side = 28 * 6
    for number, item in key.items():
        left, top = GAP + (number - 1) % 8 * (side + GAP), GAP + (number - 1) // 8 * (TITLE + side + GAP) + TITLE
        shown = picture[top : top + side : 6, left : left + side : 6]
        answer = Path(item.run) / "images" / item.engine / f"{item.pair:06d}.png"
        assert np.array_equal(shown, np.array(Image.open(answer))), "as it is, enlarged"


def test_more_than_a_sheet_holds_goes_on_the_next(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("cfx.benchmarks.studies.reading.ON_A_SHEET", 8)
    sheets = write_sheets([finished], choose([finished], ["vcnet"], 16, seed=0), tmp_path)
    assert [sheet.name for sheet in sheets] == ["sheet-1.png", "sheet-2.png"]
    with pytest.raises(UsageError, match="no valid answers of leap"):
        choose([finished], ["leap"], 16, seed=0)


def test_what_was_read_is_counted_by_engine(finished, tmp_path):
    write_sheets([finished], choose([finished], ["vcnet", "pixel"], 20, seed=0), tmp_path)
    key, classes = read_key(tmp_path / KEY), read_classes(tmp_path / CLASSES)
    said = {n: item.target if item.engine == "vcnet" else item.factual for n, item in key.items()}
    (doubtful,) = [n for n, item in key.items() if item.engine == "pixel"][:1]
    said[doubtful] = UNREAD
    path = tmp_path / "answers.csv"
    path.write_text("number,class\n" + "".join(f"{n},{name}\n" for n, name in said.items()))
    assert read_answers(path, key, classes) == said
    text = count(key, said, "A. Reader")
    assert text.endswith("Read by A. Reader: 20 of 20 images.")
    pixel, vcnet = text.splitlines()[2:4]
    assert pixel.startswith("| `pixel` | 10 | 0.0% ") and "| 90.0% (" in pixel
    assert vcnet.startswith("| `vcnet` | 10 | 100.0% ") and "| 0.0% (" in vcnet
    agreed = sum(item.judges_agree == "1" for item in key.values() if item.engine == "pixel")
    assert f"| {agreed / 10:.1%} (" in pixel


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1;shoe\n", "line 1: 'shoe' is no class"),
        ("1,3\n1,4\n", "line 2: picture 1 is there twice"),
        ("99,3\n", "line 1: picture 99 is on no sheet"),
        ("1,3\ntwo,4\n", "line 2: expected number,class"),
        ("number,class\n", "no lines of number,class"),
    ],
)
def test_what_cannot_be_counted_is_named(finished, tmp_path, text, says):
    write_sheets([finished], choose([finished], ["vcnet"], 4, seed=0), tmp_path)
    path = tmp_path / "answers.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        read_answers(path, read_key(tmp_path / KEY), read_classes(tmp_path / CLASSES))
    (tmp_path / KEY).write_text("number,engine\n1,leap\n")
    with pytest.raises(DataError, match="not a key of sheets"):
        read_key(tmp_path / KEY)
