"""One bad input costs one answer, and what is said about it cannot harm whoever reads it."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cfx.bundles.bundle import Bundle
from cfx.classifiers.convolutional import ConvNet

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[..., Any]  # a command line -> conftest's Result


@pytest.fixture
def named(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of an example under another name."""

    def call(name: str) -> Path:
        path = tmp_path / "images" / name
        path.parent.mkdir(exist_ok=True)
        try:
            shutil.copy(EXAMPLES / "four.png", path)
        except OSError as error:
            pytest.skip(f"the file system does not take this name ({error})")
        return path

    return call


def not_utf8(named: Callable[[str], Path]) -> Path:
    return named(os.fsdecode(b"caf\xe9.png"))


def output_is_a_directory(named: Callable[[str], Path]) -> Path:
    for target in range(10):
        Path(f"cfx-out/taken.pixel.{target}.panel.png").mkdir(parents=True)
    return named("taken.png")


BAD = {
    not_utf8: "the file's name is not UTF-8; rename it",
    output_is_a_directory: "could not be written (is a directory)",
}


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)
@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize("batch_size", [1, 256])
def test_it_is_the_images_own_error_and_the_others_are_done(explain: Run, named, bad, format, batch_size):
    image = bad(named)
    others = [EXAMPLES / "seven.png", EXAMPLES / "three.png"]
    result = explain(others[0], image, others[1], "--format", format, "--batch-size", batch_size, "--html")
    assert result.code == 2
    (error,) = (line for line in result.stderr.splitlines() if line.startswith("error: "))
    assert BAD[bad] in error
    assert {path.name.split(".")[0] for path in Path("cfx-out").glob("*.json")} == {"seven", "three"}
    left = [path for path in Path("cfx-out").iterdir() if path.is_file() and path.name[0] in "act"]
    assert [path for path in left if not path.name.startswith("three")] == [], "nothing half-written stays"
    if format == "json":
        records = result.records
        assert {record["input"]: "error" in record for record in records} == {
            str(others[0]): False, str(image): True, str(others[1]): False,
        }  # fmt: skip


def test_in_a_benchmark_it_is_left_out_by_name(run: Run, named, toy: Path):
    image = not_utf8(named)
    shutil.copy(EXAMPLES / "seven.png", image.with_name("seven.png"))
    result = run("bench", "--bundle", toy, "--engines", "pixel", "--images", image.parent, "--no-lpips", "--out", "r")
    assert result.code == 2
    assert "error: " in result.stderr and r"caf\udce9.png: the file's name is not UTF-8" in result.stderr
    records = [json.loads(line) for line in Path("r/records.jsonl").read_text().splitlines()]
    assert {record["input"] for record in records} == {str(image.with_name("seven.png"))}


def test_an_image_on_which_the_classifier_fails_costs_only_itself(explain: Run, monkeypatch: pytest.MonkeyPatch):
    whole, bad = ConvNet.forward, None

    def forward(self: ConvNet, images: Tensor) -> Tensor:
        return torch.where((images == bad).flatten(1).all(1)[:, None], torch.nan, whole(self, images))

    from cfx.images.reading import read_image

    bad = read_image(EXAMPLES / "seven.png", (1, 28, 28)).pixels
    monkeypatch.setattr(ConvNet, "forward", forward)
    names = ["four", "seven", "three", "two"]
    result = explain(*(EXAMPLES / f"{name}.png" for name in names if (EXAMPLES / f"{name}.png").exists()), "--format",
                     "json")  # fmt: skip
    assert result.code == 2
    failed = [record["input"] for record in result.records if "error" in record]
    assert failed == [str(EXAMPLES / "seven.png")]
    assert len(result.records) >= 3


HOSTILE = "a\n::error::pwned\x1b.png"


def test_names_cannot_speak_to_the_terminal_or_to_the_ci_server(explain: Run, named):
    image = named(HOSTILE)
    for arguments in ((image,), (image, *EXAMPLES.glob("*.png")), (image, "--format", "json"), (image, "--path")):
        result = explain(*arguments)
        for text in (result.stdout, result.stderr):
            assert "\x1b" not in text
            assert not any(line.lstrip().startswith("::") for line in text.splitlines())
        assert result.code in (0, 1)
    missing = explain(f"missing{HOSTILE}")
    assert missing.error == r"missinga ::error::pwned\x1b.png: no such file; check the name and the directory"


@pytest.fixture
def renamed(toy: Path, tmp_path: Path) -> Callable[..., Path]:
    """The toy bundle with other names for its first classes."""

    def call(*names: str) -> Path:
        copy = Path(shutil.copytree(toy, tmp_path / "renamed", dirs_exist_ok=True))
        bundle = Bundle(copy)
        bundle.update(classes=(*names, *bundle.classes[len(names) :]))
        return copy

    return call


def test_class_names_with_line_breaks_are_no_lines(explain: Run, renamed):
    bundle = renamed("zero\n::error::x", "one\x1b[31m", "two\ttabs", "three\u2028x")
    for target in range(4):
        image = EXAMPLES / ("seven.png" if target else "four.png")
        for arguments in ((image, "--path"), (image, *EXAMPLES.glob("t*.png"), *EXAMPLES.glob("f*.png"))):
            result = explain(*arguments, "--bundle", bundle, "--target", target)
            assert result.code in (0, 1, 2), result.stderr
            text = result.stdout + result.stderr
            assert "\x1b" not in text and "\n::" not in text and "\u2028" not in text


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [("Ankle boot", "Ankle boot"), ("Ankle  boot", "Ankle boot"), ("ankle BOOT ", "Ankle boot"), ("STRASSE", "straße"),
     ("a b", "a b"), ("3", "3")],
)  # fmt: skip
def test_targets_are_found_whatever_their_case_and_blanks(explain: Run, renamed, wanted: str, seen: str):
    bundle = renamed("Ankle boot", "straße", "a b")
    result = explain(*EXAMPLES.glob("*.png"), "--bundle", bundle, "--target", wanted, "--format", "json")
    assert result.code in (0, 1) and {record["target"] for record in result.records} == {seen}


def test_an_ambiguous_target_is_refused(explain: Run, renamed):
    bundle = renamed("Ankle boot", "ankle  boot")
    image = EXAMPLES / "four.png"
    assert explain(image, "--bundle", bundle, "--target", "ANKLE BOOT").error == (
        "class 'ANKLE BOOT': may be 'Ankle boot' and 'ankle boot'; write it exactly, or give its index"
    )
    result = explain(*EXAMPLES.glob("*.png"), "--bundle", bundle, "--target", "ankle  boot", "--format", "json")
    assert {record["target"] for record in result.records} == {"ankle  boot"}, "an exact name goes first"


@pytest.mark.parametrize(
    "arguments",
    [("explain", EXAMPLES / "four.png", "--out", ""), ("bench", "--out", ""), ("bench", "--junit", ""),
     ("bench", "--baseline", ""), ("bench", "--data", ""), ("compare", ""), ("train", ""), ("info", ""),
     ("init", "", "--images", "x"), ("init", "new", "--images", "x", "--weights", ""),
     ("init", "new", "--images", "x", "--classes", ""), ("train", "new", "--data", "")],
    ids=lambda arguments: " ".join(map(str, arguments)),
)  # fmt: skip
def test_an_empty_path_is_not_the_working_directory(run: Run, arguments):
    assert run(*arguments).error.startswith("'': an empty path; name a file or a directory")
    assert os.listdir() == []


def stdin_of(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")


def test_an_image_from_stdin(explain: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", stdin_of((EXAMPLES / "four.png").read_bytes()))
    (piped,) = explain("-", "--format", "json", "--out", "piped").records
    (named,) = explain(EXAMPLES / "four.png", "--format", "json", "--out", "named").records
    assert piped["input"] == "-" and piped["metrics"] == named["metrics"]
    assert sorted(path.name for path in Path("piped").glob("stdin.*.json"))
    pictures = [Path(record["files"]["counterfactual"]).read_bytes() for record in (piped, named)]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "-: stdin is empty; pipe an image into it"), (b"text", "-: not an image that cfx can")]
)
def test_no_image_on_stdin(explain: Run, monkeypatch: pytest.MonkeyPatch, content: bytes, says: str):
    monkeypatch.setattr(sys, "stdin", stdin_of(content))
    result = explain("-")
    assert result.code == 2 and result.error.startswith(says)
    monkeypatch.setattr(sys, "stdin", None)
    assert "to which nothing is connected" in explain("-").error


def test_no_directory_for_temporary_files(explain: Run, monkeypatch: pytest.MonkeyPatch):
    import tempfile

    monkeypatch.setattr(sys, "stdin", stdin_of((EXAMPLES / "four.png").read_bytes()))
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert "set TMPDIR to one that can" in explain("-").error
    assert explain(EXAMPLES / "four.png").code in (0, 1), "files need none"


def test_the_home_directory_is_expanded_everywhere(explain: Run, run: Run, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    shutil.copy(EXAMPLES / "four.png", tmp_path / "home" / "four.png")
    assert explain("~/four.png", "--out=~/out").code in (0, 1)
    assert list((tmp_path / "home" / "out").glob("four.*.json")) and not Path("~").exists()


def test_stdin_beside_files(explain: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", stdin_of(b"text"))
    result = explain("-", EXAMPLES / "four.png", "--format", "json")
    assert result.code == 2
    assert [record["input"] for record in result.records] == ["-", str(EXAMPLES / "four.png")]
    assert json.dumps(result.records[0]["error"]).startswith('"-: not an image')


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--confidence", "1"], "--confidence 1: choose a probability between 0 and 1"),
        (["--bundle", "mnst"], "unknown bundle 'mnst': did you mean 'mnist'"),
        (["--engines", "latent", "--fail-under", "vcnet.validity>=0.9"], "unknown engine 'vcnet': known are latent"),
        (["--fail-under", "latent.validity>=99"], "validity lies between 0 and 1"),
        (["--images", "nowhere"], "nowhere: no such file"),
        (["--targets", "nowhere.csv"], "--targets nowhere.csv: neither random"),
        (["--baseline", "nowhere"], "--baseline nowhere: no run there"),
        (["--out", "file"], "--out file: a file, not a directory"),
        (["--junit", "directory", "--fail-under", "latent.l1<9"], "--junit directory: a directory, not a file"),
        (["--timeout", "soon"], "--timeout 'soon': not a time; write it as 90s, 20m, 2h or 1h30m"),
        (["--min-pairs", "0"], "--min-pairs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_right_is_refused_before_torch_is_imported(run: Run, monkeypatch, arguments, says):
    from cfx.cli import running

    def imported(*_: object) -> None:
        raise AssertionError("torch would be imported here")

    monkeypatch.setattr(running, "import_module", imported)
    Path("file").touch()
    Path("directory").mkdir()
    result = run("bench", *arguments)
    assert result.code == 2 and says in result.error


# A file is one file


def test_two_inputs_never_share_an_output(explain: Run, tmp_path: Path):
    """The same name in two directories, in two calls with one --out."""
    for folder, example in (("a", "four"), ("b", "seven")):
        (tmp_path / folder).mkdir()
        shutil.copy(EXAMPLES / f"{example}.png", tmp_path / folder / "photo.png")
    (first,) = explain("a/photo.png", "--format", "json").records
    before = Path(first["files"]["counterfactual"]).read_bytes()
    result = explain("b/photo.png", "--format", "json")
    (second,) = result.records
    assert "b/photo.png: another image is also called photo; its results are named photo-2" in result.stderr
    assert first["input_sha256"] != second["input_sha256"]
    assert Path(first["files"]["counterfactual"]).read_bytes() == before
    for again, expected in (("a", first), ("b", second)):
        (record,) = explain(f"{again}/photo.png", "--format", "json").records
        assert record["files"] == expected["files"], "the same input keeps its name"
    Path("cfx-out/other.json").write_text("[]")
    Path("cfx-out/photo.pixel.1.json").write_text("not cfx's")
    assert explain("b/photo.png").code in (0, 1)


# One scale for one set


def deep(directory: Path, white: int, kind: type) -> list[Path]:
    """The examples as float or 16-bit images whose white is `white`."""
    directory.mkdir(exist_ok=True)
    paths = []
    for path in sorted(EXAMPLES.glob("*.png")):
        values = np.asarray(Image.open(path).convert("L")).astype(float) / 255 * white
        paths.append(directory / f"{path.stem}.{'tif' if kind is np.float32 else 'png'}")
        Image.fromarray(values.round().astype(kind) if kind is np.uint16 else values.astype(kind)).save(paths[-1])
    return paths


def test_the_scale_is_decided_for_the_call_and_said(explain: Run, tmp_path: Path):
    paths = deep(tmp_path / "floats", 255, np.float32)
    values = np.asarray(Image.open(paths[0]))
    Image.fromarray(values / 255).save(paths[0])  # a dark image on the same scale
    result = explain(*paths, "--format", "json")
    said = f"note: {len(paths)} images together, float values from 0 to 255: taken as shares of 255"
    assert said in result.stderr
    assert result.records[0]["factual"] != explain(paths[0], "--format", "json").records[0]["factual"]
    wanted = explain(*sorted(EXAMPLES.glob("*.png"))[1:], "--format", "json").records
    assert [record["factual"] for record in result.records[1:]] == [record["factual"] for record in wanted]


def test_an_ambiguous_scale_is_asked_for_by_name(explain: Run, run: Run, toy: Path, tmp_path: Path):
    paths = deep(tmp_path / "camera", 4000, np.uint16)
    result = explain(paths[0], EXAMPLES / "seven.png", "--format", "json")
    assert result.code == 2 and "white may be 4095 or 16383 or 65535; say which" in result.records[0]["error"]
    assert [record["input"] for record in result.records[1:]] == [str(EXAMPLES / "seven.png")], "8 bits need no scale"
    (record,) = explain(paths[0], "--white", 4000, "--format", "json").records
    assert record["factual"] == explain(sorted(EXAMPLES.glob("*.png"))[0], "--format", "json").records[0]["factual"]
    asked = ("bench", "--bundle", toy, "--engines", "pixel", "--images", tmp_path / "camera", "--no-lpips")
    assert "white may be 4095 or 16383 or 65535" in run(*asked, "--out", "r").error
    assert run(*asked, "--out", "r", "--white", 4000).code == 0
    assert 'scale is "black is 0 and white is 4000" there' in run(*asked, "--out", "r", "--white", 4095).error


@pytest.mark.parametrize("options", [("--black", 1), ("--white", 0), ("--white", 1, "--black", 2)])
def test_a_window_needs_white_above_black(explain: Run, options):
    assert "--white" in explain(EXAMPLES / "four.png", *options).error
