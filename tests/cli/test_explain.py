"""`cfx explain` from the outside: files, records, exit codes, and what it says when something is wrong."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

import cfx
from cfx.bundles.bundle import Bundle
from cfx.bundles.entries import Reached, ReachEntry
from cfx.counterfactuals import registry
from cfx.counterfactuals.curve import Curve
from cfx.counterfactuals.engine import Engine
from cfx.counterfactuals.engines.pixel import PixelAscent
from cfx.counterfactuals.problem import Problem
from cfx.counterfactuals.request import SearchRequest
from cfx.counterfactuals.tightening import PATH_FRAMES
from cfx.images.reading import read_image

Run = Callable[..., Any]  # a command line -> conftest's Result
See = Callable[[Path], str]  # an image file -> what the toy's classifier sees in it

SHAPE = (1, 28, 28)
EXAMPLES = Path(__file__).parents[2] / "examples"
MNIST = Path(__file__).parents[2] / "bundles" / "mnist"
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@dataclass(frozen=True, kw_only=True)
class Stubborn(Engine):
    """Never leaves the factual."""

    name: ClassVar[str] = "stubborn"
    summary: ClassVar[str] = "finds nothing"
    paper: ClassVar[str] = "none"

    def find(self, problem: Problem) -> Curve:
        return Curve(lambda t, rows: problem.images[rows])


@dataclass(frozen=True, kw_only=True)
class Interrupted(Stubborn):
    """Stands for a user who loses patience."""

    name: ClassVar[str] = "interrupted"

    def find(self, problem: Problem) -> Curve:
        raise KeyboardInterrupt


@dataclass(frozen=True, kw_only=True)
class Broken(Stubborn):
    """Stands for a mistake in the code."""

    name: ClassVar[str] = "broken"

    def find(self, problem: Problem) -> Curve:
        raise ZeroDivisionError("oh")


@dataclass(frozen=True, kw_only=True)
class Picky(Stubborn):
    """Fails on images that are lighter than the limit, as a mistake that one input shows."""

    name: ClassVar[str] = "picky"

    limit: float = 0.0

    def find(self, problem: Problem) -> Curve:
        if bool((problem.images.mean(dim=(1, 2, 3)) > self.limit).any()):
            raise ZeroDivisionError("too light")
        return Curve(lambda t, rows: problem.images[rows])


@dataclass(frozen=True, kw_only=True)
class Hungry(Stubborn):
    """Stands for a batch that does not fit."""

    name: ClassVar[str] = "hungry"

    def find(self, problem: Problem) -> Curve:
        raise MemoryError("no room")


@dataclass
class Entry:
    """As much of an entry point as the registry looks at."""

    name: str
    engine: type[Engine] | None
    dist: None = None

    @property
    def value(self) -> str:
        return f"elsewhere:{self.name}"

    def load(self) -> type[Engine]:
        if self.engine is None:
            raise ImportError("no module named elsewhere")
        return self.engine


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines of another package, installed beside cfx's own."""
    others = {"stubborn": Stubborn, "interrupted": Interrupted, "broken": Broken, "hungry": Hungry, "gone": None}
    others["picky"] = Picky
    entries = [Entry(name, engine) for name, engine in others.items()]
    own = registry._by_name()
    monkeypatch.setattr(registry, "_by_name", lambda: own | {entry.name: [entry] for entry in entries})


def example(name: str) -> Path:
    """One of the digits that come with cfx, such as "four"."""
    return EXAMPLES / f"{name}.png"


# What a user gets


def test_one_image(explain: Run, prediction: See):
    target = (int(prediction(example("four"))) + 1) % 10
    result = explain(example("four"), "--target", target)
    assert result.code == 0, result.stderr
    stem = f"cfx-out/four.pixel.{target}"
    assert sorted(os.listdir("cfx-out")) == sorted(
        Path(name).name for name in (f"{stem}.png", f"{stem}.panel.png", f"{stem}.json")
    )
    assert result.stderr == ""
    for words in (
        "four.png: the model sees a", "pixel (control)", "valid: the model now sees a", "judge", "L1 ", "IM1, IM2",
        "classifier calls", "LPIPS not asked for (--lpips)", f"{stem}.png", "8-bit PNG",
    ):  # fmt: skip
        assert words in result.stdout
    assert "▀" not in result.stdout  # stdout is no terminal


def test_the_written_png_is_what_the_record_says(explain: Run, toy: Path):
    """Validity is checked once more: on the file, by the classifier."""
    record = explain(example("four"), "--format", "json").records[0]
    with Image.open(record["files"]["counterfactual"]) as picture:
        assert picture.size == SHAPE[1:] and picture.mode == "L"
    pixels = read_image(Path(record["files"]["counterfactual"]), SHAPE).pixels[None]
    bundle = Bundle(toy)
    probabilities = bundle.classifier(pixels).softmax(dim=1)[0]
    assert record["valid"] and record["counterfactual"]["class"] == record["target"]
    assert int(probabilities.argmax()) == bundle.classes.index(record["target"])
    assert float(probabilities.max()) == pytest.approx(record["target_confidence"], abs=1e-4)
    assert record["target_confidence"] >= 0.9
    factual = read_image(example("four"), SHAPE).pixels[None]
    assert float((pixels - factual).abs().sum()) == pytest.approx(record["metrics"]["l1"], rel=1e-4)


def test_json_is_clean_and_complete(explain: Run, toy: Path, prediction: See):
    result = explain(example("four"), example("one"), "--format", "json", "--out", "elsewhere")
    assert result.code == 0 and result.stderr == ""
    assert [Path(record["input"]).name for record in result.records] == ["four.png", "one.png"]
    record = result.records[0]
    assert record == json.loads(Path(record["files"]["record"]).read_text())
    assert (record["schema"], record["version"], record["engine"]) == (2, cfx.__version__, "pixel")
    assert record["factual"]["class"] == prediction(example("four"))
    assert record["settings"]["confidence"] == 0.9 and "max_steps" in record["settings"]
    assert set(record["metrics"]) == {
        *("l0", "l1", "l2", "linf", "lpips", "cout", "im1", "im2", "realism_percentile", "knn_agreement"),
        *("class_percentile", "sharpness_percentile", "noise_percentile", "referee_agrees"),
        *("robust_noise", "robust_retrained", "judge_agrees", "judge_confidence", "non_trivial", "looks_real"),
    }
    assert set(record["cost"]) == {"steps", "forward_calls", "backward_calls", "seconds"}
    assert record["cost"]["forward_calls"] > record["cost"]["backward_calls"] > 0
    assert record["bundle"] == {"name": "toy", "digest": Bundle(toy).digest}
    assert record["device"] in ("cpu", "cuda", "mps") and record["seed"] == 0
    assert isinstance(record["metrics"]["judge_agrees"], bool) and isinstance(record["metrics"]["looks_real"], bool)
    assert record["metrics"]["lpips"] is None and record["files"]["path"] is None and record["files"]["gif"] is None
    assert record["missing"] == {"lpips": "not asked for (--lpips)"}
    assert any(note.startswith("files.path, files.gif: ") for note in record["notes"])


def test_every_field_is_documented(explain: Run):
    documentation = (EXAMPLES.parent / "docs" / "record.md").read_text()
    record = explain(example("four"), "--format", "json").records[0]
    for name, value in record.items():
        names = (
            [f"{name}.{key}" for key in value]
            if isinstance(value, dict) and name not in ("settings", "missing")
            else [name]
        )
        for name in names:
            assert f"| `{name}` |" in documentation


def test_a_path_is_a_strip_and_an_animation(explain: Run):
    record = explain(example("four"), "--path", "--format", "json").records[0]
    with Image.open(record["files"]["path"]) as strip, Image.open(record["files"]["gif"]) as animation:
        assert strip.width > PATH_FRAMES * 112 and strip.height > 112
        assert 1 < animation.n_frames <= PATH_FRAMES + 8
    assert record["files"]["path"].endswith(".path.png")
    assert not any(note.startswith("files.path") for note in record["notes"])


def test_the_target_is_a_class_by_name_or_index_or_the_runner_up(explain: Run, toy: Path, tmp_path: Path):
    named = Path(shutil.copytree(toy, tmp_path / "named"))
    text = (named / "bundle.toml").read_text()
    names = json.dumps([*DIGITS[:8], "eight / 8", "nine"])
    (named / "bundle.toml").write_text(re.sub(r"^classes = .*", f"classes = {names}", text, flags=re.M))
    auto = explain(example("four"), "--bundle", named, "--format", "json").records[0]
    probabilities = Bundle(toy).classifier(read_image(example("four"), SHAPE).pixels[None])[0]
    runner_up = int(probabilities.topk(2).indices[1])
    assert auto["target"] == json.loads(names)[runner_up]
    by_index = explain(example("four"), "--bundle", named, "--format", "json", "--target", runner_up)
    assert by_index.records[0]["target"] == auto["target"]
    by_name = explain(example("four"), "--bundle", named, "--format", "json", "--target", "eight / 8").records[0]
    assert by_name["files"]["counterfactual"] == "cfx-out/four.pixel.eight-8.png"


def test_settings_are_used_and_recorded(explain: Run):
    only = ("--set", "pixel.max_steps=3", "--set", "pixel.shrinking_steps=0")
    record = explain(example("four"), *only, "--format", "json").records[0]
    assert record["settings"]["max_steps"] == 3 and record["cost"]["steps"] <= 3
    assert record["classifier"] == "classifier"
    part = explain(example("four"), "--classifier", "classifier", "--format", "json", "--out", "other").records[0]
    assert part["classifier"] == "classifier" and part["settings"]["max_steps"] != 3


def test_the_same_seed_gives_the_same_bytes(explain: Run):
    content = []
    for out in ("first", "second"):
        record = explain(example("four"), "--format", "json", "--out", out, "--seed", 7).records[0]
        content.append([Path(record["files"][kind]).read_bytes() for kind in ("counterfactual", "panel")])
    assert content[0] == content[1]


def test_no_valid_counterfactual_is_answered_no(explain: Run, engines: None):
    result = explain(example("four"), "--engine", "stubborn", "--format", "json")
    assert result.code == 1
    record = result.records[0]
    assert not record["valid"] and record["counterfactual"] == record["factual"]
    assert Path(record["files"]["counterfactual"]).exists() and Path(record["files"]["panel"]).exists()
    assert "not valid: the model sees" in explain(example("four"), "--engine", "stubborn").stdout


def test_all_engines_are_compared(explain: Run, engines: None, monkeypatch: pytest.MonkeyPatch):
    calm = {k: v for k, v in registry._by_name().items() if k not in ("interrupted", "broken", "picky", "hungry")}
    monkeypatch.setattr(registry, "_by_name", lambda: calm)
    result = explain(example("four"), "--engine", "all")
    assert result.code == 1  # stubborn found none
    assert "note: engine vcnet is left out: bundle toy has no conditional_vae" in result.stderr
    assert "note: engine 'gone': elsewhere:gone cannot be imported" in result.stderr
    table = result.stdout[result.stdout.index("the engines on this image") :]
    assert re.search(r"svce\s+\(control\)\s+stubborn", table) and re.search(r"valid\s+((yes|no)\s+){3,}", table)


def test_several_engines_by_name(explain: Run, engines: None):
    result = explain(example("four"), "--engine", "stubborn, pixel,stubborn", "--format", "json")
    assert [record["engine"] for record in result.records] == ["stubborn", "pixel"]


def test_many_images_get_a_line_each(explain: Run):
    result = explain(EXAMPLES)
    assert result.code == 0
    lines = [line for line in result.stdout.splitlines() if line.startswith(str(EXAMPLES))]
    assert len(lines) == len(list(EXAMPLES.glob("*.png")))
    assert all(" valid " in line and "judges " in line and "realism" in line for line in lines)
    assert f"{len(lines)} images; shares and means over the valid" in result.stdout


def test_images_stream_through_in_batches(explain: Run, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    answer = PixelAscent.answer

    def spy(self: PixelAscent, classifier, request: SearchRequest):
        sizes.append(len(request))
        return answer(self, classifier, request)

    monkeypatch.setattr(PixelAscent, "answer", spy)

    def records(size: int) -> list[dict]:
        found = explain(EXAMPLES, "--format", "json", "--batch-size", size).records
        for record in found:
            assert record["cost"].pop("seconds") > 0 and record["metrics"].pop("lpips") is None
        return found

    streamed, at_once = records(4), records(256)
    assert sizes == [4, 4, 2, 10]
    assert [r["input"] for r in streamed] == [str(path) for path in sorted(EXAMPLES.glob("*.png"))]
    for one, other in zip(streamed, at_once, strict=True):
        assert one["metrics"] == pytest.approx(other["metrics"], rel=1e-2, abs=1e-3)
        assert (one["target"], one["valid"]) == (other["target"], other["valid"])


def test_the_same_name_twice_does_not_overwrite(explain: Run, prediction: See):
    seen = {prediction(example("four")), prediction(example("one"))}
    target = next(name for name in "0123456789" if name not in seen)
    for directory in ("a", "b"):
        Path(directory).mkdir()
        shutil.copy(example("four"), Path(directory) / "four.png")
    shutil.copy(example("one"), "four-2.png")
    result = explain("a/four.png", "b/four.png", "four-2.png", "a/four.png", "--format", "json", "--target", target)
    names = [Path(record["files"]["counterfactual"]).name for record in result.records]
    assert names == [f"{stem}.pixel.{target}.png" for stem in ("four", "four-2", "four-2-2")]
    assert "b/four.png: another image is also called four; its results are named four-2" in result.stderr


def test_notes_of_reading_are_on_stderr_and_in_the_record(explain: Run):
    Image.new("L", (56, 56)).save("large.png")
    result = explain("large.png", "--format", "json")
    note = next(note for note in result.records[0]["notes"] if "28" in note)
    assert f"note: large.png: {note}" in result.stderr


def test_a_bundle_without_judges_leaves_nulls(explain: Run, toy: Path, tmp_path: Path):
    alone = Path(shutil.copytree(toy, tmp_path / "alone"))
    text = (alone / "bundle.toml").read_text()
    kept = text[: text.index("[parts.judge]")]
    (alone / "bundle.toml").write_text(kept)
    result = explain(example("four"), "--bundle", alone, "--format", "json")
    record = result.records[0]
    assert result.code == 0 and record["metrics"]["judge_agrees"] is None and record["metrics"]["im1"] is None
    for name in ("judge_agrees", "referee_agrees", "im1", "realism_percentile", "sharpness_percentile", "looks_real"):
        assert name in record["missing"]
    assert "cannot say: there are none" in explain(example("four"), "--bundle", alone).stdout


@pytest.mark.parametrize("engine", ["latent", "vcnet", "projection"])
def test_the_shipped_bundle(run: Run, bundle: Bundle, engine: str):
    result = run("explain", example("four"), "--target", 9, "--engine", engine, "--format", "json")
    assert result.code == 0, result.stderr
    record = result.records[0]
    assert record["factual"]["class"] == "4" and record["valid"] and record["bundle"]["name"] == "mnist"


# What it says when something is wrong


def test_an_image_that_meets_its_goal_is_an_answer(explain: Run, prediction: See):
    seen = prediction(example("four"))
    different = next(name for name in DIGITS if prediction(example(name)) != seen)
    result = explain(example("four"), example(different), "--target", seen, "--confidence", 0.3, "--format", "json")
    assert result.code in (0, 1) and len(result.records) == 2
    met = result.records[0]
    assert met["valid"] and met["metrics"]["l1"] == 0 and met["cost"]["steps"] == 0
    assert any("nothing needs to change" in note for note in met["notes"])
    assert Path(met["files"]["counterfactual"]).is_file()


def test_targets_of_a_csv_are_asked_each(explain: Run, prediction: See):
    four, one = example("four"), example("one")
    others = [str(label) for label in range(10) if str(label) != prediction(four)]
    Path("asked.csv").write_text(
        f"image,target\n{four},{others[0]}\n{one},{others[1]}\n{four},{others[2]}\n{four},{others[0]}\n"
    )
    result = explain("--targets", "asked.csv", "--format", "json")
    assert [(Path(record["input"]), record["target"]) for record in result.records] == [
        (four, others[0]),
        (one, others[1]),
        (four, others[2]),
    ]
    assert len({record["files"]["record"] for record in result.records}) == 3


def test_labels_are_the_names_of_folders(explain: Run, prediction: See):
    seen = prediction(example("four"))
    label = next(str(label) for label in range(10) if str(label) != seen)
    for folder in (label, "photos"):
        Path(folder).mkdir()
        shutil.copy(example("four"), Path(folder) / "x.png")
    result = explain(f"{label}/x.png", "photos/x.png", "--target", "label", "--format", "json")
    assert result.code == 2 and "its folder, 'photos', is none of the classes 0, 1" in result.stderr
    assert [record.get("target") for record in result.records if "error" not in record] == [label]
    assert result.records[-1]["goal"] == "label" or result.records[0]["goal"] == "label"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--target", "3", "--not", "4"], "--target and --not contradict each other"),
        (["--goal", "certain", "--not", "4"], "--not and --goal certain contradict each other"),
        (["--goal", "happy"], "unknown goal 'happy'"),
        (["--target", "3,x"], "unknown class 'x'"),
        (["--not", "eleven"], "unknown class 'eleven'"),
        (["--targets", "nowhere.csv"], "--targets nowhere.csv: no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_questions_that_make_no_sense(explain: Run, options: list[str], says: str):
    result = explain(example("four"), *options)
    assert result.code == 2 and says in result.error and not Path("cfx-out").exists()


def test_no_images_at_all(explain: Run):
    assert "IMAGES: there are none" in explain().error
    Path("bad.csv").write_text(f"{example('four')},eleven\n")
    result = explain("--targets", "bad.csv")
    assert result.code == 2 and "bad.csv: line 1: unknown class 'eleven'" in result.error


def test_one_bad_image_among_many(explain: Run):
    Path("text.png").write_text("this is no image")
    result = explain("text.png", example("four"), "missing.png", "--format", "json")
    assert result.code == 2
    assert [Path(record["input"]).name for record in result.records] == ["missing.png", "text.png", "four.png"]
    missing, text, four = result.records
    for record in (missing, text):
        assert record.keys() == {"schema", "input", "error"} and record["schema"] == four["schema"]
        assert record["input"] in record["error"]
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2 and "missing.png" in errors[0] and "text.png" in errors[1]


def test_only_bad_images(explain: Run):
    Path("text.png").write_text("this is no image")
    assert "text.png" in explain("text.png").error
    assert explain("missing.png", "text.png").code == 2
    assert explain("missing.png", "neither.png").code == 2
    assert "missing.png: no such file" in explain("missing.png").error
    assert not Path("cfx-out").exists()


WRONG = [
    (["--target", "foo"], r"unknown class 'foo': known are 0, 1"),
    (["--target", "10"], r"unknown class '10'"),
    (["--engine", "pixle"], r"unknown engine 'pixle': did you mean 'pixel'\?"),
    (["--engine", ""], r"unknown engine ''"),
    (["--bundle", "toi"], r"unknown bundle 'toi'"),
    (["--device", "tpu"], r"unknown device 'tpu': .*known are auto, cpu, cuda, mps"),
    (["--format", "xml"], r"unknown format 'xml': .*known are json, text"),
    (["--confidence", "2"], r"confidence 2: choose a probability between 0 and 1"),
    (["--confidence", "often"], r"--confidence.*; see cfx explain --help"),
    (["--batch-size", "0"], r"--batch-size.*; see cfx explain --help"),
    (["--nonsense"], r"No such option: --nonsense.*; see cfx explain --help"),
    (["--engine", "vcnet"], r"bundle toy: has no part 'conditional_vae'"),
    (["--set", "pixel"], r"--set 'pixel': expected ENGINE.FIELD=VALUE"),
    (["--set", "pixle.max_steps=3"], r"--set pixle.max_steps=3: unknown engine 'pixle': did you mean 'pixel'"),
    (["--set", "pixel.max_step=3"], r"unknown setting of pixel 'max_step': did you mean 'max_steps'"),
    (["--set", "pixel.max_steps=x"], r"--set pixel.max_steps=x: expected a whole number"),
    (["--set", "pixel.max_steps=0"], r"--set pixel.max_steps=0: choose 1 or more"),
    (["--set", "pixel.max_steps=3", "--set", "pixel.max_steps=4"], r"pixel.max_steps is set twice"),
    (["--set", "pixel.confidence=0.5"], r"use --confidence"),
    (["--engine", "svce", "--set", "svce.preset=papr"], r"engine svce: no preset 'papr'; choose paper, or none"),
    (["--engine", "pixel", "--set", "pixel.preset=paper"], r"engine pixel: preset 'paper': it has no presets"),
    (["--set", "latent.max_steps=3"], r"latent is not among the engines|add --engine latent"),
    (["--engine", "pixel", "--set", "latent.max_steps=3"], r"latent is not among the engines of this command, pixel"),
    (["--classifier", "judge"], r"bundle toy: unknown classifier 'judge': known are classifier"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_wrong_usage(explain: Run, arguments: list[str], message: str):
    result = explain(example("four"), *arguments)
    assert result.code == 2 and result.stdout == ""
    assert re.search(message, result.error)
    assert not Path("cfx-out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(explain: Run):
    assert explain(example("four"), "--device", "cuda").error.startswith("device cuda: not available")


def test_a_bundle_that_no_engine_can_use(explain: Run, monkeypatch: pytest.MonkeyPatch):
    need_no_part = ("pixel", "jsma", "svce")
    own = {name: entries for name, entries in registry._by_name().items() if name not in need_no_part}
    monkeypatch.setattr(registry, "_by_name", lambda: own)
    result = explain(example("four"), "--engine", "all")
    assert result.code == 2 and "error: bundle toy: none of the engines can be used" in result.stderr


def test_an_engine_that_cannot_be_imported(explain: Run, engines: None):
    assert (
        "elsewhere:gone cannot be imported (ImportError: no module"
        in explain(example("four"), "--engine", "gone").error
    )


def test_an_unwritable_directory_is_found_out_before_the_search(explain: Run, monkeypatch: pytest.MonkeyPatch):
    Path("file").write_text("")
    monkeypatch.setattr(PixelAscent, "search", lambda *_, **__: pytest.fail("searched"))
    result = explain(example("four"), "--out", "file/below")
    assert result.code == 2
    assert result.error == "file/below: cannot be written to (not a directory); choose another directory"


def test_a_full_disk(explain: Run, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    result = explain(example("four"))
    assert result.code == 2 and "no space left on device" in result.error
    assert os.listdir("cfx-out") == []


def test_a_damaged_judge_is_found_out_before_the_search(explain: Run, toy: Path, tmp_path: Path):
    damaged = Path(shutil.copytree(toy, tmp_path / "damaged"))
    content = bytearray((damaged / "judge.safetensors").read_bytes())
    content[-1] ^= 1
    (damaged / "judge.safetensors").write_bytes(content)
    result = explain(example("four"), "--bundle", damaged)
    assert result.code == 2 and "judge.safetensors" in result.error and not Path("cfx-out").exists()


def test_nan_from_the_classifier(explain: Run, monkeypatch: pytest.MonkeyPatch):
    from cfx.classifiers.convolutional import ConvNet

    monkeypatch.setattr(ConvNet, "forward", lambda self, images: torch.full((len(images), 10), torch.nan))
    result = explain(example("four"))
    assert result.code == 2 and "the classifier returned NaN" in result.error and not Path("cfx-out").exists()


# The door


def test_interrupting(explain: Run, engines: None):
    assert explain(example("four"), "--engine", "interrupted").code == 130


def test_an_engine_of_another_package_that_fails_is_named(explain: Run, engines: None):
    result = explain(example("four"), "--engine", "broken,stubborn")
    assert result.code == 2
    assert "four.png: engine broken: it fails (ZeroDivisionError: oh); tell the author of tests" in result.stderr
    assert "stubborn" in result.stdout, "the other goes on"


def test_an_engine_that_fails_on_one_image_answers_all_others(explain: Run, engines: None):
    means = {path.name: float(read_image(path, SHAPE).pixels.mean()) for path in EXAMPLES.glob("*.png")}
    *_, second, lightest = sorted(means, key=lambda name: means[name])
    limit = (means[second] + means[lightest]) / 2
    result = explain(EXAMPLES, "--engine", "picky", "--set", f"picky.limit={limit}", "--format", "json")
    assert result.code == 2, "an input could not be answered"
    (failed,) = [line for line in result.records if "error" in line]
    assert failed["input"].endswith(lightest)
    assert "engine picky: it fails (ZeroDivisionError: too light); tell the author of tests" in failed["error"]
    assert len(result.records) == len(means), "all others are answered"


def test_the_unexpected_is_one_line_too(explain: Run, engines: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Broken, "__module__", "cfx.elsewhere")  # as if it were ours
    result = explain(example("four"), "--engine", "broken")
    assert result.code == 2
    assert result.error == "ZeroDivisionError: oh (unexpected; run with --debug for the traceback)"
    assert "try a smaller --batch-size" in explain(example("four"), "--engine", "hungry").error


def test_debug_shows_the_traceback(run: Run, monkeypatch: pytest.MonkeyPatch):
    asked = run("--debug", "explain", "missing.png")
    monkeypatch.setenv("CFX_DEBUG", "1")
    for result in (asked, run("explain", "missing.png")):
        assert result.code == 2 and "Traceback" in result.stderr and "ImageError" in result.stderr
        assert result.stderr.splitlines()[-1].startswith("error: missing.png")


def test_the_bare_command_and_a_misspelt_one(run: Run):
    assert run("--version").stdout == f"cfx {cfx.__version__}\n"
    bare = run()
    assert bare.code == 2 and bare.stdout == "" and "Usage: cfx" in bare.stderr
    assert "explain" in run("expain").error
    assert run("explain").error.startswith("IMAGES: there are none; name image files")
    assert run("explain", "--help").code == 0


HEAVY = {"torch", "torchvision", "numpy", "lpips", "normflows", "PIL", "rich"}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["explain", "--help"], ["train", "--help"], ["info", "--help"], ["--version"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]):
    code = f"import sys; from cfx.cli.app import main; main({arguments}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout and not HEAVY & set(done.stderr.split())


def test_several_engines_are_compared_in_one_picture(explain: Run, engines: None, tmp_path: Path):
    result = explain(example("four"), example("nine"), "--engine", "pixel,stubborn", "--target", 3)
    assert result.code == 1
    overviews = sorted((tmp_path / "cfx-out").glob("*.engines.3.panel.png"))
    assert [path.name.split(".")[0] for path in overviews] == ["four", "nine"]
    with Image.open(overviews[0]) as picture:
        rows = {engine: Image.open(tmp_path / "cfx-out" / f"four.{engine}.3.png") for engine in ("pixel", "stubborn")}
        assert picture.height > 2 * 140 and picture.width > 3 * 140
        # Each engine's counterfactual stands in the overview, enlarged five times.
        for engine, row in rows.items():
            assert contains(picture.convert("L"), row.resize((140, 140), Image.Resampling.NEAREST)), engine


def contains(sheet: Image.Image, part: Image.Image) -> bool:
    """Whether `part` stands somewhere in `sheet`, pixel for pixel."""
    whole, wanted = (torch.from_numpy(np.array(picture.convert("L"))) for picture in (sheet, part))
    windows = whole.unfold(0, part.height, 1).unfold(1, part.width, 1)
    # The middle column of the part rules out nearly all places, so that few are compared in full.
    middle = part.width // 2
    places = (windows[:, :, :, middle] == wanted[:, middle]).all(dim=2).nonzero()
    return any(torch.equal(windows[row, column], wanted) for row, column in places.tolist())


def test_explain_imports_neither_torchvision_nor_lpips(toy: Path, tmp_path: Path):
    arguments = ["explain", str(example("four")), "--bundle", str(toy), "--engine", "pixel", "--out", str(tmp_path)]
    code = f"import sys; from cfx.cli.app import main; main({arguments}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torchvision", "lpips", "normflows", "matplotlib", "torch._dynamo"} & set(done.stderr.split())


def test_a_closed_pipe_is_quiet():
    command = [sys.executable, "-m", "cfx.cli", "--help"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


def test_html_is_one_page_of_all_answers(explain: Run, tmp_path: Path):
    result = explain(example("four"), example("one"), "--html")
    assert result.code == 0 and "cfx-out/index.html" in result.stderr
    page = (tmp_path / "cfx-out" / "index.html").read_text(encoding="utf-8")
    assert "four.png" in page and "one.png" in page and page.count("<table") == 0, "no summary of two answers"
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    assert not (tmp_path / "elsewhere").exists()
    assert explain(example("four"), "--out", "elsewhere").code == 0
    assert not (tmp_path / "elsewhere" / "index.html").exists(), "only where it is asked for"


def test_a_far_target_is_told_before_the_search_once_and_only_of_the_engine_that_was_tried(run: Run, tmp_path: Path):
    shutil.copytree(MNIST, tmp_path / "mine")
    pairs = {(4, 9): Reached(reached=1, asked=5), (4, 1): Reached(reached=5, asked=5)}
    Bundle(tmp_path / "mine").update(reach=ReachEntry(engine="vcnet", confidence=0.9, pairs=pairs))
    shutil.copy(EXAMPLES / "four.png", tmp_path / "other.png")
    asked = (EXAMPLES / "four.png", tmp_path / "other.png", "--bundle", tmp_path / "mine", "--out", tmp_path / "out")
    told = "note: from 4 to 9 is far: with held-out images, vcnet reached it 1 of 5 times; nearer: 1 (5 of 5)"
    result = run("explain", *asked, "--target", "9", "--engine", "vcnet")
    assert " ".join(result.stderr.split()).count(told) == 1
    assert result.code == 0, "it is a note, and the search goes on"
    for other in (("--target", "1", "--engine", "vcnet"), ("--target", "9", "--engine", "projection")):
        assert "is far" not in run("explain", *asked, *other).stderr


def test_a_region_is_kept_and_its_mask_written(run: Run, tmp_path: Path):
    asked = ("--target", "9", "--engine", "vcnet", "--format", "json", "--out", tmp_path / "out")
    result = run("explain", EXAMPLES / "four.png", *asked, "--region", "0,0,28,14")
    assert result.code in (0, 1)
    record = result.records[0]
    assert record["within"] == {"asked": "region 0,0,28,14", "share": 0.5}
    found, factual = (
        np.asarray(Image.open(path)) for path in (record["files"]["counterfactual"], EXAMPLES / "four.png")
    )
    assert (found[14:] == factual[14:]).all() and (found[:14] != factual[:14]).any()
    mask = np.asarray(Image.open(record["files"]["mask"]))
    assert (mask[:14] == 255).all() and (mask[14:] == 0).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--region", "1,2,3"], "--region '1,2,3': expected x,y,width,height in pixels"),
        (["--region", "0,0,0,4"], "expected x,y,width,height in pixels"),
        (["--region", "0,0,2,2", "--mask", "auto"], "--region and --mask contradict each other"),
        (["--mask", "nowhere.png"], "--mask nowhere.png: no such file"),
        (["--region", "20,20,20,20"], "region 20,20,20,20 (x,y,width,height) is not inside its 28x28 pixels"),
        (["--segments", "gird"], "--segments gird: no such file; give a picture of the regions, grid or slic"),
        (
            ["--segments", str(EXAMPLES / "fashion" / "bag.png")],
            "bag.png: 153 colours; draw each of 2 to 100 regions in a colour of its own",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_regions_that_cannot_be_meant(explain: Run, options: list[str], says: str):
    result = explain(example("four"), *options)
    assert result.code == 2 and says in result.error


def test_several_answers_are_numbered_files(run: Run):
    result = run(
        "explain", EXAMPLES / "four.png", "--target", "9", "--engine", "vcnet", "--count", "3", "--format", "json"
    )
    assert result.code == 0
    assert [record["place"] for record in result.records] == [1, 2, 3]
    assert {record["of"] for record in result.records} == {3}
    names = [record["files"]["counterfactual"] for record in result.records]
    assert names == [f"cfx-out/four.vcnet.9{number}.png" for number in ("", "-2", "-3")]
    assert len({Path(name).read_bytes() for name in names}) == 3
    assert all(json.loads(Path(record["files"]["record"]).read_text()) == record for record in result.records)
    assert Path("cfx-out/four.answers.9.panel.png").exists()


def test_several_answers_to_several_images_belong_to_their_own(run: Run):
    asked = [EXAMPLES / "four.png", EXAMPLES / "nine.png", EXAMPLES / "two.png"]
    result = run("explain", *asked, "--target", "9", "--engine", "vcnet,swap", "--count", "2", "--format", "json")
    assert result.code == 0
    told = [(Path(record["input"]).stem, record["engine"], record["place"]) for record in result.records]
    assert told[:5] == [
        *(("four", "vcnet", place) for place in (1, 2)), ("nine", "vcnet", 1),
        *(("two", "vcnet", place) for place in (1, 2)),
    ]  # fmt: skip
    assert all(Path(record["files"]["record"]).name.startswith(Path(record["input"]).stem) for record in result.records)
    assert (
        "1 of 2; they differ by L1"
        in run("explain", asked[0], "--target", "9", "--count", "2", "--engine", "vcnet").stdout
    )


def test_which_regions_suffice_is_a_picture_and_in_the_record(run: Run):
    asked = ("--target", "3", "--engine", "vcnet", "--confidence", "0.5", "--format", "json")
    result = run("explain", EXAMPLES / "seven.png", *asked, "--explain-regions")
    record = result.records[0]
    assert result.code == 0 and record["which_regions"]["enough"] == [0]
    assert record["which_regions"]["cells"][0]["valid"] and len(record["which_regions"]["cells"]) == 16
    assert record["files"]["regions"] == "cfx-out/seven.vcnet.3.regions.png"
    with Image.open(record["files"]["regions"]) as picture:
        assert picture.width > 3 * 224
    Image.fromarray(np.repeat([[0], [255]], 14, axis=0).repeat(28, axis=1).astype(np.uint8)).save("halves.png")
    cut = run("explain", EXAMPLES / "seven.png", *asked, "--segments", "halves.png").records[0]
    assert {cell["colour"] for cell in cut["which_regions"]["cells"]} == {"#000000", "#ffffff"}
    without = run("explain", EXAMPLES / "seven.png", *asked).records[0]
    assert without["files"]["regions"] is None and "which_regions" not in without


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--count", "0"], "'--count': Input should be greater than or equal to 1"),
        (["--style", "humane"], "unknown style 'humane': did you mean 'human'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_sets_and_styles_that_cannot_be_meant(explain: Run, options: list[str], says: str):
    result = explain(example("four"), *options)
    assert result.code == 2 and says in result.error


def test_a_style_needs_images_to_compare_with(explain: Run, toy: Path):
    result = explain(example("four"), "--style", "human")
    assert result.code == 2 and f"cfx train {toy} --only donors" in result.error


def test_where_no_engine_is_named_auto_answers_within_its_time(run: Run):
    whole = run("explain", EXAMPLES / "four.png", "--target", "9", "--format", "json")
    assert whole.code == 0 and whole.records[0]["engine"] == "auto"
    assert "auto: the answer of leap; other answers: leap" in " ".join(whole.records[0]["notes"])
    brief = run("explain", EXAMPLES / "four.png", "--target", "9", "--format", "json", "--within", "0.01s")
    assert brief.records[0]["settings"]["within"] == 0.01
    assert brief.records[0]["cost"]["forward_calls"] < whole.records[0]["cost"]["forward_calls"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--within", "0"], "--within '0': not a time"),
        (["--within", "2s", "--engine", "vcnet"], "--within 2s: only the engine auto looks at the time"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_times_that_cannot_be_meant(run: Run, options: list[str], says: str):
    result = run("explain", EXAMPLES / "four.png", *options)
    assert result.code == 2 and says in result.error
