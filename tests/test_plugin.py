"""An engine of another package: installed into a fresh environment, it is there everywhere; a broken one is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PLUGIN = REPOSITORY / "examples" / "plugin"
FOUR = REPOSITORY / "examples" / "four.png"

NAMED = """
from dataclasses import dataclass
from typing import ClassVar
from cfx.counterfactuals.engines.pixel import PixelAscent

@dataclass(frozen=True, kw_only=True)
class Mine(PixelAscent):
    name: ClassVar[str] = "{name}"
    contract: ClassVar[int] = {contract}
"""

Cfx = Callable[..., str]


@pytest.fixture(scope="module")
def python(
    build_wheel: Callable[[Path], Path],
    install: Callable[[Path], Path],
    shell: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The python of a fresh environment with cfx and the plug-in."""
    python = install(build_wheel(REPOSITORY))
    source = tmp_path_factory.mktemp("plugin") / "plugin"
    shutil.copytree(PLUGIN, source, ignore=shutil.ignore_patterns("*.egg-info", "build"))
    shell("uv", "pip", "install", "--no-deps", "--python", python, build_wheel(source))
    return python


@pytest.fixture(scope="module")
def installed(python: Path, command: Callable[..., Path]) -> Path:
    """The `cfx` of that environment; it looks for engines each time, as a new process does."""
    return command(python=python)


@pytest.fixture
def cfx(installed: Path, shell: Callable[..., str], tmp_path: Path) -> Cfx:
    """Runs it in an empty directory."""
    return lambda *words, **options: shell(installed, *words, cwd=tmp_path, **options)


@pytest.fixture
def add(python: Path, shell: Callable[..., str]):
    """Adds another package with an engine to the environment, for one test."""
    site = Path(shell(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    added: list[Path] = []

    def call(package: str, engine: str, code: str) -> None:
        (site / f"{package}.py").write_text(code)
        about = site / f"{package}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[cfx.engines]\n{engine} = {package}:Mine\n")
        added.extend([about, site / f"{package}.py"])

    yield call
    for each in added:
        shutil.rmtree(each) if each.is_dir() else each.unlink()


@pytest.mark.slow
def test_it_is_everywhere(cfx: Cfx):
    engines = {each["name"]: each for each in json.loads(cfx("info", "--format", "json"))["engines"]}
    assert engines["nun"]["plugin"] == "cfx-nun 1.0" and engines["latent"]["plugin"] is None
    settings = json.loads(cfx("info", "--engine", "nun", "--format", "json"))["settings"]
    (setting,) = [each for each in settings if each["name"] not in ("preset", "tightened")]
    assert (setting["name"], setting["default"], setting["least"]) == ("neighbours", 20, 1)
    answered = cfx("explain", FOUR, "--target", "9", "--engine", "nun", "--set", "nun.neighbours=3", "--format", "json")
    record = json.loads(answered)
    assert record["valid"] and record["settings"]["neighbours"] == 3
    words = ("bench", "--images", FOUR.parent, "-n", "2", "--engines", "nun,vcnet", "--format", "json", "--no-lpips")
    summary = json.loads(cfx(*words, "--set", "nun.neighbours=3"))
    assert {"nun", "vcnet"} <= set(summary["engines"])


@pytest.mark.slow
def test_it_passes_the_conformance_suite(python: Path, shell: Callable[..., str], tmp_path: Path):
    shutil.copy(PLUGIN / "tests" / "test_nun.py", tmp_path)
    assert " passed" in shell(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path, cwd=tmp_path)


@pytest.mark.slow
def test_a_plug_in_that_fails_is_named_and_the_others_go_on(cfx: Cfx, add):
    add("broken", "broken", "import nothing_of_that_name\n")
    add("later", "later", NAMED.format(name="later", contract=2))
    information = json.loads(cfx("info", "--format", "json"))
    assert {"nun", "latent"} <= {each["name"] for each in information["engines"]}
    why = {each["what"]: each["why"] for each in information["unavailable"]}
    assert "broken:Mine cannot be imported (ModuleNotFoundError" in why["engine broken"]
    assert (
        "later 1.0 is written for version 2 of the contract of engines, and this cfx has version 1"
        in why["engine later"]
    )
    cfx("explain", FOUR, "--target", "9", "--engine", "all", codes=(0, 1))
    cfx("explain", FOUR, "--target", "9", "--engine", "broken", codes=(2,))


@pytest.mark.slow
def test_two_plug_ins_of_one_name(cfx: Cfx, add):
    add("first", "twin", NAMED.format(name="twin", contract=1))
    add("second", "twin", NAMED.format(name="twin", contract=1))
    information = json.loads(cfx("info", "--format", "json"))
    why = {each["what"]: each["why"] for each in information["unavailable"]}
    sentence = "engine 'twin': first 1.0 and second 1.0 provide it; uninstall all but one of them"
    assert why["engine twin"] == sentence
    assert "twin" not in {each["name"] for each in information["engines"]}
    cfx("explain", FOUR, "--target", "9", "--engine", "twin", codes=(2,))


@pytest.mark.slow
def test_a_plug_in_cannot_take_a_name_of_ours(cfx: Cfx, add):
    add("taker", "pixel", NAMED.format(name="pixel", contract=1))
    information = json.loads(cfx("info", "--format", "json"))
    (pixel,) = [each for each in information["engines"] if each["name"] == "pixel"]
    assert pixel["plugin"] is None
    why = {each["what"]: each["why"] for each in information["unavailable"]}
    assert why["another engine pixel"] == "taker 1.0 cannot take a name of cfx's own: cfx's is used"
