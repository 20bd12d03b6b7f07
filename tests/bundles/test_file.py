"""bundle.toml is read with checks, and what is written is read again."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cfx.bundles.bundle import Bundle
from cfx.bundles.file import BundleFile, as_document
from cfx.bundles.finding import shipped
from cfx.bundles.known_parts import JUDGES
from cfx.documents import Table
from cfx.errors import BundleError


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_shipped_file_is_written_as_it_was_read(name: str):
    text = (shipped()[name] / "bundle.toml").read_text(encoding="utf-8")
    assert tomllib.loads(as_document(BundleFile.read(shipped()[name]).as_json())) == tomllib.loads(text)


WHOLE = {
    "schema": 1,
    "name": "mine",
    "classes": ["a", "b"],
    "shape": [3, 40, 32],
    "light_on_dark": False,
    "recipe": "cfx train DIR",
    "engine": "projection",
    "settings": {"leap": {"guidance": [5.0, 8.0], "bisections": 2}},
    "working": [20, 16],
    "fit": "crop",
    "present": [0],
    "images": {"source": "photos", "count": 7, "flip": True, "root": "data", "classes": ["a", "b"]},
    "wanted": ["classifier", "judge"],
    "left_out": {"retrained": "it is your own"},
    "of_a_later_version": {"kept": [1, 2]},
    "parts": {
        "classifier": {
            "file": "model.onnx",
            "sha256": "00",
            "architecture": "Adapted",
            "kind": "onnx",
            "name": "model.onnx",
            "differentiable": False,
            "other_files": ["model.data"],
            "fixed_batch": 1,
            "declared": ["size"],
            "preprocessing": {"channels": 3, "size": [40, 32], "mean": [0.5], "std": [0.25], "scale": 255.0},
            "columns": [4, 2],
            "other_sha256": ["11"],
            "measured": {"test_accuracy": 0.5, "images": 12},
        },
        "judge": {
            "file": "judge.safetensors",
            "sha256": "22",
            "architecture": "ResidualNet",
            "arguments": {"classes": 2, "width": 24},
            "measured": {"test_accuracy": 0.75},
            "verdict": "weak",
            "because": "right on 75.0% of test images",
        },
    },
}


def document(**changes: object) -> dict[str, object]:
    return {key: value for key, value in {**WHOLE, **changes}.items() if value is not None}


def read(directory: Path, **changes: object) -> BundleFile:
    (directory / "bundle.toml").write_text(as_document(document(**changes)), encoding="utf-8")
    return BundleFile.read(directory)


def test_every_field_is_read_and_written_again(tmp_path: Path):
    file = read(tmp_path)
    assert (file.shape, file.working, file.resize, file.present) == ((3, 40, 32), (20, 16), "crop", (0,))
    assert file.images is not None and file.images.count == 7 and file.images.flip
    foreign = file.parts["classifier"].foreign
    assert foreign is not None and foreign.columns == (4, 2) and foreign.preprocessing is not None
    assert foreign.preprocessing.mean == (0.5,)
    assert file.parts["judge"].verdict == "weak"
    again = BundleFile.from_json(Table(tomllib.loads(as_document(file.as_json())), "again"))
    assert again == file
    assert file.as_json()["of_a_later_version"] == {"kept": [1, 2]}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": None}, "bundle.toml: name is missing; restore the bundle"),
        ({"classes": None}, "bundle.toml: classes is missing"),
        ({"classes": "ab"}, r"bundle.toml: classes must be a list of text, found 'ab'"),
        ({"classes": ["a", 2]}, r"classes\[1\] must be text, found 2"),
        ({"shape": [28, 28]}, "shape must be a list of 3 values, each a whole number, found"),
        ({"shape": [1, 28, 28.5]}, r"shape\[2\] must be a whole number, found 28.5"),
        ({"light_on_dark": "yes"}, "light_on_dark must be true or false, found 'yes'"),
        ({"parts": {"judge": {"file": "x", "sha256": 3, "architecture": "y"}}}, "parts.judge: sha256 must be text"),
        ({"parts": {"judge": {"file": "x", "architecture": "y"}}}, "parts.judge: sha256 is missing"),
        ({"parts": {"judge": {**WHOLE["parts"]["judge"], "verdict": "fine"}}}, "verdict must be good, weak or useless"),  # type: ignore[index]
        ({"parts": {"judge": {**WHOLE["parts"]["judge"], "measured": {"x": "y"}}}}, "x must be a number, found 'y'"),  # type: ignore[index]
        ({"images": {"count": 3}}, "images: source is missing"),
        ({"images": {"source": "x", "count": 3, "ground": "grey"}}, "ground must be black or white, found 'grey'"),
        (
            {"images": {"source": "x", "count": 3, "skip_unreadable": 1}},
            "skip_unreadable must be true or false, found 1",
        ),
    ],
)
def test_a_wrong_field_is_one_sentence_that_names_it(tmp_path: Path, changes: dict[str, object], sentence: str):
    with pytest.raises(BundleError, match=sentence) as caught:
        read(tmp_path, **changes)
    assert str(caught.value).startswith(f"bundle {tmp_path}: bundle.toml: ") and "\n" not in str(caught.value)


def test_what_init_decided_about_images_is_kept(tmp_path: Path):
    about = {"source": "photos", "count": 7, "flip": False, "skip_unreadable": True, "ground": "black"}
    file = read(tmp_path, images=about)
    assert file.images is not None and file.images.skip_unreadable and file.images.ground == "black"
    assert file.images.as_json() == about
    without = read(tmp_path, images={"source": "photos", "count": 7, "flip": False})
    assert without.images is not None and without.images.ground is None and not without.images.skip_unreadable
    assert without.images.as_json() == {"source": "photos", "count": 7, "flip": False}


def test_parts_are_kept_apart(bundle: Bundle):
    assert set(bundle.models.names()) | set(bundle.judges.names()) == set(bundle.parts)
    assert set(bundle.judges.names()) == JUDGES
    held = [value for value in vars(bundle.models).values() if isinstance(value, dict)]
    assert all(JUDGES.isdisjoint(value) for value in held), "what an engine gets does not even hold their entries"
