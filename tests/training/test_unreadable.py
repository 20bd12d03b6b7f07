"""Files that are missing or broken: how many may be, what is said, and that `cfx train` obeys `cfx init`."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle
from cfx.bundles.own_images import images_for_testing, own_images
from cfx.errors import DataError
from cfx.images.sets.opening import open_images
from cfx.images.sets.unreadable import left_out, lost_classes
from cfx.images.writing import write_png
from cfx.intake.init_options import InitOptions
from cfx.training.opening import reopen_session
from cfx.training.setup import set_up


@pytest.fixture
def root(digits: tuple[Tensor, Tensor], tmp_path: Path) -> Path:
    """The 400 digits, a folder a class, and a table of them beside it."""
    rows = ["path,label"]
    for index, (image, label) in enumerate(zip(*digits, strict=True)):
        path = Path("images", f"digit {int(label)}", f"{index}.png")
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        write_png(tmp_path / path, image)
        rows.append(f"{path.as_posix()},digit {int(label)}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    return tmp_path


def files(root: Path) -> list[Path]:
    return sorted((root / "images").glob("*/*.png"))


def truncate(paths: Iterable[Path]) -> None:
    for path in paths:
        path.write_bytes(path.read_bytes()[:60])


def test_a_few_missing_files_are_counted_over_the_whole_table(root: Path):
    for index in (5, 100, 399):
        next(root.glob(f"images/*/{index}.png")).unlink()
    checked = set_up(root / "b", InitOptions(images=str(root / "labels.csv")))
    first = next(line for line in (root / "labels.csv").read_text().splitlines() if "/5.png" in line).split(",")[0]
    assert checked.warnings == (
        f"3 of 400 files listed in labels.csv do not exist and are left out, such as {first} (line 7)",
    )
    entry = checked.file.images
    assert entry is not None and entry.count == 400
    split = own_images(entry).split()
    session = reopen_session(root / "b")
    assert session.notes == checked.warnings, "missing files are no broken images"
    kept = session.context.split
    assert sum(map(len, (kept.train, kept.held_out, kept.judge_train, kept.judge_held_out, kept.test))) == 397
    assert images_for_testing(Bundle(root / "b")) is not None
    write_png(root / first, torch.zeros(1, 28, 28))  # a file that is restored moves no other to another subset
    again = own_images(entry).split()
    assert all(torch.equal(split.subset(name), again.subset(name)) for name in ("train", "judge_train", "test"))
    assert "2 of 400" in reopen_session(root / "b").notes[0]


def test_many_missing_files_are_refused_unless_they_are_skipped(root: Path):
    for path in files(root)[:40:4]:
        path.unlink()
    with pytest.raises(DataError, match=r"10 of 400 files listed there do not exist, such as images/digit 0/.* \(line"):
        set_up(root / "b", InitOptions(images=str(root / "labels.csv")))
    assert not (root / "b").exists()
    checked = set_up(root / "b", InitOptions(images=str(root / "labels.csv"), skip_unreadable=True))
    assert checked.warnings[0].startswith("10 of 400 files listed in labels.csv do not exist and are left out")
    assert len(reopen_session(root / "b").context.split.test) > 50
    shutil.rmtree(root / "images")
    with pytest.raises(DataError, match=r"400 of 400 files listed there do not exist"):
        reopen_session(root / "b")


def test_a_few_broken_files_are_named_with_the_rule(root: Path):
    broken = files(root)[10:60:25]
    truncate(broken)
    checked = set_up(root / "b", InitOptions(images=str(root / "images")))
    (warning,) = checked.warnings
    counted, _, named = warning.partition(": ")
    assert counted.endswith("left out (up to 1 % may be; --skip-unreadable leaves out any number)")
    assert any(f"{path}: the image is cut off or damaged" in named for path in broken)
    assert checked.file.images is not None and not checked.file.images.skip_unreadable
    assert "skip_unreadable" not in (root / "b" / "bundle.toml").read_text()


def test_many_broken_files_are_refused_unless_they_are_skipped(root: Path):
    truncate(files(root)[::5])
    options = InitOptions(images=str(root / "images"))
    with pytest.raises(DataError, match=r"could not be read: .*; cfx init --skip-unreadable leaves out any number"):
        set_up(root / "b", options)
    checked = set_up(root / "b", InitOptions(images=str(root / "images"), skip_unreadable=True))
    warning = checked.warnings[0]
    assert "cannot be read and are left out (as --skip-unreadable says): " in warning
    assert warning.count("the image is cut off or damaged") == 3 and warning.endswith(" more")
    assert "skip_unreadable = true" in (root / "b" / "bundle.toml").read_text()
    assert checked.file.images is not None and checked.file.images.count == 400
    session = reopen_session(root / "b")
    kept = session.context.split
    assert sum(map(len, (kept.train, kept.held_out, kept.judge_train, kept.judge_held_out, kept.test))) == 320
    assert session.notes[-1] == "left out: 70 more images that cannot be read" and len(session.notes) == 11
    found = images_for_testing(Bundle(root / "b"))
    assert found is not None and len(found) == len(kept.test)


def test_a_class_of_broken_files_is_no_target(root: Path):
    truncate((root / "images" / "digit 3").iterdir())
    checked = set_up(root / "b", InitOptions(images=str(root / "images"), skip_unreadable=True))
    assert "classes with too few images that can be read, which cannot be targets: digit 3" in checked.warnings
    assert Bundle(root / "b").present == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert reopen_session(root / "b").context.present == Bundle(root / "b").present


def test_without_a_class_that_can_be_read_nothing_is_made(root: Path):
    for folder in (root / "images").iterdir():
        truncate(sorted(folder.iterdir())[1:])
    with pytest.raises(DataError, match="images: no class has enough images that can be read; repair or restore them"):
        set_up(root / "b", InitOptions(images=str(root / "images"), skip_unreadable=True))
    truncate(files(root))
    with pytest.raises(DataError, match=r"images: \d+ of \d+ images could not be read"):
        set_up(root / "b", InitOptions(images=str(root / "images"), skip_unreadable=True))
    assert not (root / "b").exists()


def test_lost_classes_are_those_that_a_subset_lacks(root: Path):
    images = open_images(str(root / "images"))
    split = images.split()
    assert lost_classes(images.labels, split, ()) == []
    of_four = [index for index in split.test.tolist() if int(images.labels[index]) == 4]
    assert lost_classes(images.labels, split, of_four[1:]) == []
    assert lost_classes(images.labels, split, of_four) == [4]


def test_very_many_sentences_are_counted():
    assert left_out([], None) == []
    said = left_out([f"{place}.png: broken" for place in range(12)], None)
    assert len(said) == 11 and said[0] == "left out: 0.png: broken"
    assert said[-1] == "left out: 2 more images that cannot be read"
