"""Every command and every line of Python in the README runs; what the other pages name and link to exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_group

from cfx.cli.app import app
from cfx.counterfactuals.registry import engine_names

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "DEVELOPERS.md", *sorted((ROOT / "docs").glob("*.md")))
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = get_group(app).commands
MOST_LINES = 180  # of the README, for a reader who has five minutes
# These take minutes to hours; the first is what runs this test, the others have tests of their own.
LONG = (
    "uv run pytest",
    "uv run cfx train",
    "uv run cfx bench --data",
    "uv run cfx bench --bundle fashion-mnist --data",
)


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


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


def shown(page: Path) -> list[tuple[str, str]]:
    """Every command of cfx on a page, in blocks and in the text, as its name and what follows it."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    lines = [*"\n".join(fenced).splitlines(), *re.findall(r"^    .*$", prose, flags=re.MULTILINE), *spans]
    return [found for line in lines for found in re.findall(rf"\bcfx ({'|'.join(COMMANDS)})\b([^#|]*)", line)]


SHOWN = [(page, *command) for page in PAGES for command in shown(page)]


def test_there_are_commands_to_test():
    assert len(SHOWN) > 100
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


def test_the_readme_stays_short():
    assert len(README.splitlines()) <= MOST_LINES, "move what is too much to docs/"


def test_the_options_and_engines_that_a_page_names_exist():
    """Of every command on every page, also of those that take too long to be run here."""
    names = {*engine_names(), "all", "NAME", "nun"}  # the last is of examples/plugin
    for page, command, words in SHOWN:
        known = {
            option for parameter in COMMANDS[command].params for option in parameter.opts + parameter.secondary_opts
        }
        for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", words):
            assert option in known, f"{page.name}: cfx {command} has no {option}"
        for listed in re.findall(r"--engines? ([\w,-]+)", words):
            assert names.issuperset(listed.split(",")), f"{page.name}: {listed}"


@pytest.mark.slow
def test_the_lines_of_python(clone: Path):
    (explain,) = blocks("python")
    (pieces,) = blocks("python", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    check = "\nassert answer.valid and answer.metrics['judge_agrees'], answer\n"
    (clone / "explain.py").write_text(explain + check)
    result = run([sys.executable, "explain.py"], clone)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("a 4") and (clone / "four-to-nine.png").stat().st_size > 1000
    check = "\nassert bool(found.valid.all()) and scores[0]['judge_agrees'], scores\n"
    (clone / "pieces.py").write_text(pieces + check)
    result = run([sys.executable, "pieces.py"], clone)
    assert result.returncode == 0, result.stderr


def test_the_readme_opens_with_its_one_picture():
    before, after = README.split("![", 1)
    assert "## " not in before and "![" not in after


def test_modules_that_a_page_names_are_there():
    """Rooms and modules in backticks, of the root or of the room that the line speaks of."""
    named = {name for page in PAGES for name in re.findall(r"`([a-z_/]+/[a-z_]+\.py)`", page.read_text("utf-8"))}
    assert len(named) > 20
    for name in named - {"cli/NAME.py"}:
        assert (ROOT / name).is_file(), name
    rooms = (ROOT / "DEVELOPERS.md").read_text("utf-8").split("## Rooms")[1].split("## Tests")[0]
    for row in re.findall(r"^\| `(\w+)/` .*$", rooms, flags=re.MULTILINE):
        (line,) = re.findall(rf"^\| `{row}/` .*$", rooms, flags=re.MULTILINE)
        for name in re.findall(r"`([a-z_]+\.py)`", line):
            assert (ROOT / row / name).is_file(), f"{row}/{name}"


def anchors(page: Path) -> set[str]:
    """What links to the sections of a page end in, as GitHub makes it of their headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_pages_pictures_and_sections_are_there(page: Path):
    for link in re.findall(r"\]\((?!http)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, section = link.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), link
        assert not section or section in anchors(linked), link


def test_every_page_is_linked():
    links = {
        link for page in PAGES for link in re.findall(r"\]\((?:docs/)?([\w-]+\.md)", page.read_text(encoding="utf-8"))
    }
    assert {page.name for page in PAGES} - {"README.md"} <= links


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
