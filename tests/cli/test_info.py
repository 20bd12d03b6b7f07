"""`cfx info`: what there is, and why the rest is not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import torch

import cfx
from cfx.bundles.bundle import Bundle
from cfx.cli import info_job as command
from cfx.cli import info_models
from cfx.counterfactuals.fidelity import UNSTATED
from cfx.counterfactuals.registry import by_rank, engine_names, load_engine
from cfx.reports.sections.engines import glossary_of

Run = Callable[..., Any]  # a command line -> conftest's Result


@pytest.fixture
def installed(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the toy bundle, as if it were the one that comes with cfx."""
    copy = Path(shutil.copytree(toy, tmp_path / "installed"))
    monkeypatch.setattr(info_models, "shipped", lambda: {"toy": copy})
    monkeypatch.delenv("CFX_LPIPS_BACKBONE", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return copy


def information(run: Run) -> dict[str, Any]:
    result = run("info", "--format", "json")
    assert result.stderr == ""
    return json.loads(result.stdout)


def test_what_there_is(run: Run, installed: Path):
    found = information(run)
    assert found["schema"] == 1 and found["version"] == cfx.__version__ and found["torch"].startswith("2.")
    assert [device["name"] for device in found["devices"]] == ["cpu", "cuda", "mps"]
    assert [engine["name"] for engine in found["engines"]] == by_rank(
        {name: load_engine(name) for name in engine_names()}
    )
    assert all(engine["summary"] and engine["paper"] for engine in found["engines"])
    assert {engine["name"]: engine["fidelity"]["kind"] for engine in found["engines"]}["graft"] == "ours"
    assert [engine["name"] for engine in found["engines"] if engine["default"]] == ["auto"]
    (toy,) = found["bundles"]
    assert toy["name"] == "toy" and toy["verified"] and toy["problem"] is None and toy["shape"] == [1, 28, 28]
    assert toy["bytes"] == sum(path.stat().st_size for path in installed.glob("*.safetensors"))
    assert toy["parts"]["classifier"]["measured"] == {"test_accuracy": 0.5}
    assert toy["lacks"]["matching"].endswith("--only matching` makes it") and "judge" not in toy["lacks"]
    assert [what["what"] for what in found["unavailable"]] == ["LPIPS"]


def test_settings_of_a_bundle_are_listed(run: Run, installed: Path):
    bundle = Bundle(installed)
    bundle.update(settings={"leap": {"guidance": [5.0, 8.0], "bisections": 2}})
    (toy,) = information(run)["bundles"]
    assert toy["settings"] == {"leap": {"guidance": [5.0, 8.0], "bisections": 2}}
    shown = " ".join(run("info").stdout.split())
    assert "leap asked with guidance=5,8, bisections=2, unless --set says otherwise" in shown


def test_one_engine_with_its_settings(run: Run):
    about = json.loads(run("info", "--engine", "latent", "--format", "json").stdout)
    steps = next(each for each in about["settings"] if each["name"] == "max_steps")
    assert (steps["type"], steps["default"], steps["least"]) == ("int", 40, 1)
    fidelity = load_engine("latent").fidelity
    assert about["engine"]["fidelity"] == {"kind": "variant", "departs": fidelity.departs}
    text = run("info", "--engine", "latent").stdout
    assert f"fidelity: variant; {fidelity.departs}" in " ".join(text.split())
    assert "needs vae, anchors, and gradients" in text and "steps at most (>= 1)" in text
    text = run("info", "--engine", "clue").stdout
    assert "needs vae, and gradients of the classifier; uses ensemble if the bundle has it" in " ".join(text.split())
    assert run("info", "--engine", "latnt").error.startswith("unknown engine 'latnt': did you mean 'latent'?")


def test_presets_are_listed_with_what_is_published_and_what_differs(run: Run):
    preset = load_engine("deduce").presets["paper"]
    about = json.loads(run("info", "--engine", "deduce", "--format", "json").stdout)
    assert about["presets"]["paper"]["settings"]["step"] == preset.settings["step"] == 0.2
    text = " ".join(run("info", "--engine", "deduce").stdout.split())
    assert "preset paper, asked for with --set deduce.preset=paper --confidence 0.5: step=0.2" in text
    assert f"published: {preset.published} differs: {preset.differs}" in text
    assert "preset paper" not in run("info", "--engine", "swap").stdout


def test_an_engine_whose_author_does_not_say_how_near_it_is_to_its_source(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(load_engine("swap"), "fidelity", UNSTATED)
    sentence = "fidelity: variant; its author does not say"
    assert sentence in " ".join(run("info", "--engine", "swap").stdout.split())
    assert f"({sentence})" in " ".join(run("info").stdout.split())
    assert glossary_of(["swap", "no engine"]).terms["swap"] == "variant: its author does not say"
    assert "no engine" not in glossary_of(["no engine"]).terms


def test_for_people(run: Run, installed: Path):
    result = run("info")
    assert result.code == 0 and result.stderr == ""
    for words in (f"cfx {cfx.__version__}", "devices", "engines", "latent", "needs vae, anchors", "pixel (control)",
                  "1x28x28 pixels, 10 classes", "files verified (sha256)", "test accuracy 0.5", "sha256 ",
                  "not available", "LPIPS needs AlexNet's"):  # fmt: skip
        assert words in result.stdout


def test_a_damaged_and_a_missing_file(run: Run, installed: Path):
    path = installed / "judge.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    (installed / "classifier.safetensors").unlink()
    result = run("info")
    assert result.code == 1
    assert "judge.safetensors is not the file that bundle.toml describes" in result.stdout
    assert "classifier.safetensors is missing" in result.stdout


def test_an_unreadable_bundle_is_not_available(run: Run, installed: Path):
    (installed / "bundle.toml").write_text("schema = 99")
    found = information(run)
    assert found["bundles"] == []
    assert "schema 99, this cfx reads schema 1" in found["unavailable"][0]["why"]


def test_lpips_with_a_file_and_without(run: Run, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CFX_LPIPS_BACKBONE", str(tmp_path / "nowhere"))
    assert "nowhere: no such file" in information(run)["unavailable"][0]["why"]
    (tmp_path / "nowhere").write_text("")
    assert information(run)["unavailable"] == []


def test_without_torch(run: Run, monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(command, "installed_version", missing)
    result = run("info")
    assert result.code == 0 and "torch missing" in result.stdout and "reinstall cfx-toolkit" in result.stdout


def test_an_unknown_format(run: Run):
    assert run("info", "--format", "yaml").error == "unknown format 'yaml': known are json, text"


def test_the_shipped_bundle_is_intact(run: Run, bundle: Bundle):
    (shipped,) = (found for found in information(run)["bundles"] if found["name"] == "mnist")
    assert shipped["verified"] and shipped["digest"] == bundle.digest
    assert shipped["parts"]["classifier"]["measured"]["test_accuracy"] >= 0.993
