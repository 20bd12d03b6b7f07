"""A run directory holds the records of any command, and deletes what it wrote and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cfx.documents import Table
from cfx.errors import DataError, UsageError
from cfx.runs.directory import RunDirectory, RunKind
from cfx.runs.identity import RunIdentity


@dataclass(frozen=True)
class Finding:
    """A record that is no answer."""

    name: str
    score: float

    @property
    def key(self) -> tuple[str, ...]:
        return (self.name,)

    def as_json(self) -> dict[str, object]:
        return dict(vars(self))


def read(table: Table, _: RunDirectory[Finding]) -> Finding:
    return Finding(table.need("name", str), table.need("score", float))


KIND = RunKind("survey", read, steps=("features", "clusters"))
IDENTITY = RunIdentity({"seed": 0})


@pytest.fixture
def home(tmp_path: Path) -> RunDirectory[Finding]:
    return RunDirectory(tmp_path / "run", KIND)


def begin(home: RunDirectory[Finding], identity: RunIdentity = IDENTITY) -> None:
    """A run with a record and two files."""
    with home.held(identity) as begun:
        if not begun:
            home.begin(identity, command=["cfx", "survey"], device="cpu", threshold=0.5)
            home.append([Finding("a", 1.0)])
            home.write("images/deep/a.png", b"a")


def files(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_records_come_back_and_a_second_one_of_a_key_is_refused(home: RunDirectory[Finding]):
    begin(home)
    home.append([Finding("b", 0.5)])
    assert [*home.records()] == [Finding("a", 1.0), Finding("b", 0.5)]
    home.append([Finding("a", 2.0)])
    with pytest.raises(
        DataError, match=r"records.jsonl: line 3 has the key of an earlier record \(a\); remove the line"
    ):
        [*home.records()]


def test_what_only_this_kind_has_is_in_the_manifest(home: RunDirectory[Finding]):
    begin(home)
    manifest = json.loads((home.path / "manifest.json").read_text())
    assert manifest["kind"] == "survey" and manifest["threshold"] == 0.5 and "batch_size" not in manifest


def test_fresh_deletes_what_is_listed_and_nothing_else(home: RunDirectory[Finding]):
    begin(home)
    (home.path / "images" / "deep" / "mine.png").write_text("precious")
    (home.path / "images" / "000001.png").write_text("precious, with a name like that of a run's picture")
    (home.path / "images" / "deep" / ".a.png.77.partial").write_text("left by a kill")
    (home.path / ".thesis.tex.77.partial").write_text("left by a kill of something else")
    with RunDirectory(home.path, KIND).held(RunIdentity({"seed": 1}), fresh=True) as begun:
        assert not begun
        kept = {"images/deep/mine.png", "images/000001.png", ".thesis.tex.77.partial", ".lock"}
        assert files(home.path) == kept


def test_what_was_written_before_the_manifest_goes_at_the_next_start(home: RunDirectory[Finding]):
    with home.held(IDENTITY):
        home.write("images/a.png", b"a")  # and then it is killed
    with RunDirectory(home.path, KIND).held(RunIdentity({"seed": 1})) as begun:
        assert not begun and files(home.path) == {".lock"}


def test_records_without_a_manifest_are_not_deleted_unless_asked(home: RunDirectory[Finding]):
    begin(home)
    (home.path / "manifest.json").unlink()
    before = files(home.path)
    with (
        pytest.raises(UsageError, match=r"holds the records of a run, and no manifest.json; restore it, or start anew"),
        home.held(IDENTITY),
    ):
        pass
    assert files(home.path) == before
    with home.held(IDENTITY, fresh=True) as begun:
        assert not begun and files(home.path) == {".lock"}


def test_a_half_written_name_does_not_swallow_the_next(home: RunDirectory[Finding]):
    begin(home)
    with open(home.path / "files.jsonl", "a") as file:
        file.write('"images/de')  # as a kill may leave it
    again = RunDirectory(home.path, KIND)
    with again.held(IDENTITY):
        again.write("images/b.png", b"b")
    with RunDirectory(home.path, KIND).held(IDENTITY, fresh=True):
        assert files(home.path) == {".lock"}


def test_a_name_of_a_directory_is_told_and_left(home: RunDirectory[Finding]):
    begin(home)
    (home.path / "images" / "mine.txt").write_text("precious")
    with open(home.path / "files.jsonl", "a") as file:
        file.write('"images"\n')
    told: list[str] = []
    with RunDirectory(home.path, KIND, told.append).held(IDENTITY, fresh=True):
        assert files(home.path) == {".lock", "images/mine.txt"}
    assert len(told) == 1 and told[0].endswith("images is a directory; it is not deleted")


def test_a_run_of_another_command_is_named(home: RunDirectory[Finding]):
    begin(home)
    for fresh in (False, True):
        other = RunDirectory(home.path, RunKind("trust", read))
        with (
            pytest.raises(UsageError, match="holds a run of `cfx survey`, not of `cfx trust`; choose another"),
            other.held(IDENTITY, fresh=fresh),
        ):
            pass
    assert "records.jsonl" in files(home.path)


@pytest.mark.parametrize("line", ["{", "3", '"../thesis.tex"', '"/etc/passwd"', '""', "null", "\x00"])
def test_a_damaged_list_of_files_says_what_is_not_deleted(home: RunDirectory[Finding], tmp_path: Path, line: str):
    begin(home)
    (tmp_path / "thesis.tex").write_text("precious")
    with open(home.path / "files.jsonl", "a") as file:
        file.write(line + "\n")
    told: list[str] = []
    with RunDirectory(home.path, KIND, told.append).held(IDENTITY, fresh=True):
        assert files(home.path) == {".lock"} and (tmp_path / "thesis.tex").exists()
    (note,) = told
    assert "files.jsonl: line 4 (" in note and note.endswith("names no file of the run; nothing is deleted for it")


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_text('"images/deep/a.png"\n')])
def test_a_run_whose_list_is_gone_or_lacks_the_records_is_not_deleted(home: RunDirectory[Finding], spoil):
    begin(home)
    spoil(home.path / "files.jsonl")
    before = files(home.path)
    with (
        pytest.raises(UsageError, match=r"\(files.jsonl\) is missing, or lacks its records, so nothing was deleted"),
        home.held(IDENTITY, fresh=True),
    ):
        pass
    assert files(home.path) == before


# Steps


@pytest.fixture
def count() -> Callable[[], dict[str, np.ndarray]]:
    """Makes a table, and counts how often."""

    def make() -> dict[str, np.ndarray]:
        make.calls += 1  # type: ignore[attr-defined]
        return {"values": np.arange(3.0), "names": np.array(["a", "ä"])}

    make.calls = 0  # type: ignore[attr-defined]
    return make


def test_a_step_is_made_once_and_again_when_its_needs_change(home: RunDirectory[Finding], count):
    begin(home)
    for needs, calls in (({"bundle": "x"}, 1), ({"bundle": "x"}, 1), ({"bundle": "y"}, 2), ({"bundle": "x"}, 3)):
        table = RunDirectory(home.path, KIND).step("features", needs).load_or(count)
        assert table["values"].tolist() == [0, 1, 2] and table["names"].tolist() == ["a", "ä"]
        assert count.calls == calls
    features = home.step("features", {"bundle": "x"})
    changed = home.step("features", {"bundle": "y"})
    assert (
        home.step("clusters", {"features": features.digest}).digest
        != home.step("clusters", {"features": changed.digest}).digest
    ), "what is made from a step changes with it"


@pytest.mark.parametrize("ending", ["npz", "json"])
@pytest.mark.parametrize("content", [b"", b"no", b"{}", b"[1]"])
def test_a_damaged_step_is_made_again_with_a_note(home: RunDirectory[Finding], count, ending: str, content: bytes):
    begin(home)
    home.step("features", {}).load_or(count)
    (home.path / "steps" / f"features.{ending}").write_bytes(content)
    told: list[str] = []
    again = RunDirectory(home.path, KIND, told.append).step("features", {}).load_or(count)
    assert count.calls == 2 and again["values"].tolist() == [0, 1, 2]
    assert "features.npz: damaged" in told[0] and told[0].endswith("it is made again")
    RunDirectory(home.path, KIND, told.append).step("features", {}).load_or(count)
    assert count.calls == 2 and len(told) == 1


def test_a_step_holds_no_objects_and_has_a_name_of_its_kind(home: RunDirectory[Finding]):
    begin(home)
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        home.step("features", {}).load_or(lambda: {"values": np.array([object()])})
    with pytest.raises(ValueError, match="'colours' is no step of `cfx survey`: features, clusters"):
        home.step("colours", {})


def test_fresh_deletes_steps_too(home: RunDirectory[Finding], count):
    begin(home)
    home.step("features", {}).load_or(count)
    with home.held(IDENTITY, fresh=True):
        assert files(home.path) == {".lock"}
