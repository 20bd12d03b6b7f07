"""`cfx init` from the outside: what it takes, what it leaves out, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from cfx.images.writing import write_png

Run = Callable[..., Any]  # a command line -> conftest's Result


@pytest.fixture
def labels(digits: tuple[Tensor, Tensor], tmp_path: Path) -> Path:
    """A table of 200 digits, whose paths were written on Windows."""
    rows = ["path,label"]
    for index, (image, label) in enumerate(zip(digits[0][::2], digits[1][::2], strict=True)):
        folder = tmp_path / "photos" / str(int(label))
        folder.mkdir(parents=True, exist_ok=True)
        write_png(folder / f"{index}.png", image)
        rows.append(f"photos\\{int(label)}\\{index}.png,{int(label)}")
    (tmp_path / "labels.csv").write_text("\r\n".join(rows))
    return tmp_path / "labels.csv"


def test_a_table_of_windows_with_a_missing_file(run: Run, labels: Path):
    next(labels.parent.glob("photos/*/15.png")).unlink()
    made = run("init", "b", "--images", labels)
    assert made.code == 1, "done, with a warning"
    assert "labels.csv: backslashes in 199 paths such as photos\\0\\0.png are taken as separators of folders" in (
        made.stderr
    )
    assert (
        "warning: 1 of 200 files listed in labels.csv does not exist and is left out, such as photos\\" in made.stderr
    )
    assert "(line 17)" in made.stderr


def test_many_missing_files_are_one_line_and_an_option(run: Run, labels: Path):
    for path in sorted(labels.parent.glob("photos/*/*.png"))[::10]:
        path.unlink()
    refused = run("init", "b", "--images", labels)
    assert refused.code == 2
    assert (
        "labels.csv: 20 of 200 files listed there do not exist, such as photos\\0\\0.png (line 2), " in refused.stderr
    )
    assert "cfx init --skip-unreadable leaves out any number of them" in refused.stderr
    made = run("init", "b", "--images", labels, "--skip-unreadable", "--format", "json")
    assert made.code == 1
    images = json.loads(made.stdout)["bundle"]["images"]
    assert images["skip_unreadable"] is True and images["count"] == 200
    assert "20 of 200 files listed in labels.csv do not exist" in made.stderr


def test_folders_without_images_are_noted(run: Run, labels: Path):
    (labels.parent / "photos" / "later").mkdir()
    made = run("init", "b", "--images", "photos")
    assert made.code in (0, 1), made.stderr
    assert "photos: empty folders are left out: later" in made.stderr
    assert "classes     10: " in made.stdout
