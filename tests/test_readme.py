"""Every command and every line of Python in the README runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FASHION = "uv run cfx bench --bundle fashion-mnist --data"
RUNS = "uv run cfx compare runs/ours"  # what the peers' hours have left
# These take minutes to hours; the first is what runs this test, the others have tests of their own.
LONG = (
    "uv run pytest",
    "uv run cfx train",
    "uv run python -m cfx.benchmarks",
    "uv run cfx bench --data",
    FASHION,
    RUNS,
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """The commands of a block that a test can wait for."""
    lines = [line.split("  #")[0].strip() for line in block.replace("\\\n", " ").splitlines()]
    wanted = [line.removeprefix("pip install uv && ") for line in lines if line]
    return [line for line in wanted if not line.startswith(LONG)]


SCRIPTS = [commands(block) for block in blocks("sh") if commands(block)]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory with the examples in it, as a clone has them."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


def run(command: list[str] | str, directory: Path, *before: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line as a shell does, or words; the directories `before` come first on PATH."""
    places = [*before, Path(sys.executable).parent, os.environ["PATH"]]
    environment = {**os.environ, "PATH": os.pathsep.join(map(str, places))}
    return subprocess.run(
        command, cwd=directory, env=environment, shell=isinstance(command, str), capture_output=True, text=True
    )


def test_there_are_commands_to_test():
    assert sum(len(script) for script in SCRIPTS) >= 10
    assert SCRIPTS[0] == ["uv run cfx explain examples/four.png --target 9"]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script[0])
def test_a_block_of_commands(script: list[str], clone: Path, command: Callable[..., Path]):
    """One after another in one directory, as a reader would; the first command of the page is the installed one."""
    before = () if script == SCRIPTS[0] else (command().parent,)
    for line in script:
        result = run(line.replace("uv run ", ""), clone, *before)
        # 1 is an answer, too: one of many images may not get a valid counterfactual.
        assert result.returncode == 0 or (result.returncode == 1 and "*" in line), result.stderr
        assert "error" not in result.stderr.lower()
        if "cfx explain" in line:
            assert list((clone / "cfx-out").glob("*.png"))
        if "cfx bench" in line:
            assert list((clone / "runs").glob("*/index.html"))


@pytest.mark.slow
def test_the_lines_of_python(clone: Path):
    explain, pieces = blocks("python")
    check = "\nassert answer.valid and answer.metrics['judge_agrees'], answer\n"
    (clone / "explain.py").write_text(explain + check)
    result = run([sys.executable, "explain.py"], clone)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("a 4") and (clone / "four-to-nine.png").stat().st_size > 1000
    check = "\nassert bool(found.valid.all()) and scores[0]['judge_agrees'], scores\n"
    (clone / "pieces.py").write_text(pieces + check)
    result = run([sys.executable, "pieces.py"], clone)
    assert result.returncode == 0, result.stderr


def test_the_pictures_are_there():
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert pictures and all((ROOT / picture).is_file() for picture in pictures)


def test_modules_that_a_page_names_are_there():
    """Rooms and modules in backticks, of the root or of the room that the line speaks of."""
    pages = [ROOT / "README.md", ROOT / "DEVELOPERS.md", *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"`([a-z_/]+/[a-z_]+\.py)`", page.read_text("utf-8"))}
    assert len(named) > 20
    for name in named - {"cli/NAME.py"}:
        assert (ROOT / name).is_file(), name
    rooms = (ROOT / "DEVELOPERS.md").read_text("utf-8").split("## Rooms")[1].split("## Tests")[0]
    for row in re.findall(r"^\| `(\w+)/` .*$", rooms, flags=re.MULTILINE):
        (line,) = re.findall(rf"^\| `{row}/` .*$", rooms, flags=re.MULTILINE)
        for name in re.findall(r"`([a-z_]+\.py)`", line):
            assert (ROOT / row / name).is_file(), f"{row}/{name}"


def test_linked_pages_are_there():
    links = re.findall(r"\[[^]]*\]\((?!http)([^)#]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links)


@pytest.mark.parametrize("language", ["toml", "python"])
def test_the_engine_that_the_docs_write_is_the_one_in_the_examples(language: str):
    text = (ROOT / "docs" / "write-an-engine.md").read_text(encoding="utf-8")
    package = ROOT / "examples" / "plugin"
    files = [path.read_text(encoding="utf-8") for path in (*package.glob("**/*.py"), package / "pyproject.toml")]
    found = re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert found
    for block in found:
        for piece in block.strip("\n").split("\n\n"):
            assert any(all(line in content for line in piece.splitlines()) for content in files), piece
