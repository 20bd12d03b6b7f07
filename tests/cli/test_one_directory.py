"""Several processes, long names, and files that are reached in several ways: every record has its own input."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from cfx.cli.claims import ENDING, ClaimedNames
from cfx.cli.explain_inputs import Input
from cfx.cli.naming import file_names, shortened, stem_of
from cfx.images.finding import OneOfEach, find_images

EXAMPLES = Path(__file__).parents[2] / "examples"
DIGITS = ("four", "seven", "one", "nine")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def started(*words: str) -> subprocess.Popen[str]:
    common = ("--engine", "pixel", "--target", "3", "--format", "json", "--threads", "1", "--quiet")
    command = [sys.executable, "-m", "cfx.cli", "explain", *words, *common]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_processes_at_once_keep_all_their_records(here: Path) -> None:
    for name in DIGITS:
        Path(name).mkdir()
        shutil.copy(EXAMPLES / f"{name}.png", Path(name) / "1.png")
    running = [started(f"{name}/1.png") for name in DIGITS[:3]]
    printed = [process.communicate(timeout=300)[0] for process in running]
    records = [json.loads(line) for text in printed for line in text.splitlines()]
    assert len(records) == 3
    for record in records:
        kept = json.loads(Path(record["files"]["record"]).read_text())
        assert kept["input"] == record["input"]
        assert kept["input_sha256"] == hashlib.sha256(Path(record["input"]).read_bytes()).hexdigest()
    assert not [*Path("cfx-out").glob(f".*{ENDING}")]


def an_input(stem: str, content: str) -> Input:
    return Input(f"{content}/{stem}.png", Path(stem), hashlib.sha256(content.encode()).hexdigest(), stem, stem)


def a_record(out: Path, stem: str, each: Input) -> None:
    (out / f"{stem}.pixel.3.json").write_text(json.dumps({"engine": "pixel", "input_sha256": each.sha256}))


def test_a_name_is_reserved_until_the_end(here: Path) -> None:
    first, second = an_input("a", "first"), an_input("a", "second")
    with ClaimedNames.opened(here, ["a"]) as names, ClaimedNames.opened(here, ["a"]) as others:
        assert names.claim([first]) == [first]
        assert [each.stem for each in others.claim([second])] == ["a-2"]
        with ClaimedNames.opened(here, ["a"]) as same:
            assert same.claim([first]) == [first], "results of one image have one name"
            assert same.claim([first]) == [first]
    assert os.listdir(here) == []


def test_a_name_taken_since_it_was_planned(here: Path) -> None:
    """Another process has written its record, and is done."""
    first, second, third = (an_input("A", content) for content in ("first", "second", "third"))
    a_record(here, "a", first)
    a_record(here, "A-2", second)
    with ClaimedNames.opened(here, ["A"]) as names:
        assert [each.stem for each in names.claim([third])] == ["A-3"]
        assert [each.stem for each in names.claim([first])] == ["A"]


def test_names_of_one_process_stay_different(here: Path) -> None:
    one, two = an_input("a", "one"), an_input("a", "two")
    inputs = [one, Input(two.name, two.path, two.sha256, "a-2", "a"), an_input("a-3", "three")]
    a_record(here, "a-2", an_input("a", "other"))
    with ClaimedNames.opened(here, [each.stem for each in inputs]) as names:
        assert [each.stem for each in names.claim(inputs)] == ["a", "a-4", "a-3"]


@pytest.mark.parametrize("name", ["x" * 240, "\u624b" * 80, "\U0001f600" * 60, "e\u0301" * 70, "x" * 130 + ".tar"])
def test_long_names_are_cut(name: str) -> None:
    stem = stem_of(f"folder/{name}.png")
    assert len(stem.encode()) <= 120
    assert stem.startswith(name[:10])
    assert stem != stem_of(f"{name[:-4]}y.png"), "the digest tells names apart that begin alike"
    assert shortened("short", 120) == "short"


def test_long_names_of_classes_are_cut() -> None:
    names = file_names(["c" * 300, "c" * 299 + "d", "\u732b" * 100, "cat"])
    assert len({*names}) == 4 and names[3] == "cat"
    assert all(len(name.encode()) <= 80 for name in names)


@pytest.mark.slow
def test_a_long_name_is_explained(here: Path) -> None:
    for name in ("x" * 245, "y" * 150):
        shutil.copy(EXAMPLES / "four.png", here / f"{name}.png")
    (process,) = [started(*(path.name for path in here.glob("*.png")), "--html")]
    out, err = process.communicate(timeout=300)
    assert process.returncode in (0, 1), err
    stems = {Path(json.loads(line)["files"]["record"]).name[:20] for line in out.splitlines()}
    assert stems == {"x" * 20, "y" * 20}


# One file is one file


def copies(root: Path) -> Path:
    (root / "a").mkdir()
    shutil.copy(EXAMPLES / "four.png", root / "a" / "four.png")
    return root / "a" / "four.png"


def test_a_file_is_taken_once_in_every_spelling(here: Path) -> None:
    path = copies(here)
    found = find_images(["a/four.png", "a/../a/four.png", str(path), "a/*.png", "./a//four.png"])
    assert found.paths == [Path("a/four.png")]
    assert found.notes == []


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_file_is_taken_once_by_link(link: Callable[[Path, Path], None], here: Path) -> None:
    path = copies(here)
    link(path, here / "b.png")
    found = find_images(["a", "b.png"])
    assert found.paths == [Path("a/four.png")]
    assert found.notes == ["b.png: is the same file as a/four.png, and is taken once"]


def test_a_folder_that_is_linked_into_itself(here: Path) -> None:
    copies(here)
    os.symlink(here / "a", here / "a" / "again")
    os.symlink(here, here / "a" / "up")
    for patterns, recursive in ((["a"], True), (["."], True), (["a/**/*.png"], False), (["a", "a/again"], False)):
        assert len(find_images(patterns, recursive=recursive).paths) == 1


def test_what_does_not_exist_is_its_name(here: Path) -> None:
    os.symlink("nowhere", here / "broken.png")
    files = OneOfEach()
    for path in (here / "broken.png", here / "none.png", Path("none.png")):
        files.add(path)
    assert [path.name for path in files.paths.values()] == ["broken.png", "none.png"]


# No image decides how the others are read


CODE = """
import torch
from torch import nn
class Model(nn.Module):
    def forward(self, images):
        return 9 * nn.functional.adaptive_avg_pool2d(images, 2).mean(1).flatten(1)
"""


@pytest.mark.slow
def test_an_image_is_read_alike_alone_and_among_others(here: Path) -> None:
    (here / "lightest.py").write_text(CODE)
    colour = Image.open(EXAMPLES / "four.png").convert("RGB").resize((90, 60))
    colour.putpixel((3, 3), (255, 0, 0))
    colour.save("colour.png")
    colour.convert("L").save("grey.png")
    colour.resize((10, 10)).save("thumbnail.png")
    colour.resize((300, 180)).save("photo.png")
    (here / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    names = ["thumbnail.png", "grey.png", "photo.png", "colour.png"]
    one = ("--classifier", "lightest:Model", "--out")

    def seen(out: str, *files: str) -> dict[str, tuple[float, tuple[int, int], str]]:
        process = started(*files, *one, out)
        printed, said = process.communicate(timeout=300)
        assert process.returncode == (2 if "broken.png" in files else process.returncode), said
        found = {}
        for record in map(json.loads, printed.splitlines()):
            if "files" in record:
                with Image.open(record["files"]["counterfactual"]) as picture:
                    found[record["input"]] = (record["factual"]["confidence"], picture.size, picture.mode)
        return found

    together = seen("together", "broken.png", *names)
    assert together == seen("backwards", *names[::-1])
    for name in names[:2]:
        assert seen("alone", name) == {name: together[name]}
    assert {size for _, size, _ in together.values()} == {(10, 10), (90, 60), (256, 154)}
    assert together["grey.png"][2] == "L" and together["colour.png"][2] == "RGB"
