"""What is installed is what is here: every room, the shipped bundle, and a help that does not wait for torch."""

from __future__ import annotations

import json
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
NOT_THE_PACKAGE = {".venv", ".git", ".ci", "build", "dist", "tests", "examples", "docs", "cfx-out"}
HEAVY = ("torch", "torchvision", "lpips", "normflows", "numpy", "PIL")


def test_packages_are_the_folders_with_an_init() -> None:
    listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = ["cfx"]
    for init in REPOSITORY.glob("**/__init__.py"):
        place = init.parent.relative_to(REPOSITORY)
        if place.parts and place.parts[0] not in NOT_THE_PACKAGE and place != Path("benchmarks/studies"):
            found.append(".".join(("cfx", *place.parts)))
    assert sorted(listed) == sorted(found)


def test_tests_are_no_package() -> None:
    assert not list((REPOSITORY / "tests").glob("**/__init__.py"))


@pytest.mark.parametrize("arguments", [[], ["--help"], ["explain", "--help"], ["--version"]], ids=" ".join)
def test_help_does_not_import_torch(arguments: list[str], shell: Callable[..., str]) -> None:
    """Neither importing the command line nor asking it for help costs what a search costs."""
    program = f"""
import sys
import cfx.cli.app
arguments = {arguments!r}
if arguments:
    sys.argv = ["cfx", *arguments]
    try:
        cfx.cli.app.main()
    except SystemExit as end:
        assert not end.code, end.code
print("heavy:", [name for name in {HEAVY!r} if name in sys.modules])
"""
    assert shell(sys.executable, "-c", program).splitlines()[-1] == "heavy: []"


@pytest.fixture(scope="module")
def wheel(build_wheel: Callable[[Path], Path]) -> Path:
    """The wheel of this checkout."""
    return build_wheel(REPOSITORY)


@pytest.mark.slow
def test_wheel_holds_what_is_needed_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"cfx"}, "one name in site-packages"
    assert "cfx/py.typed" in names
    assert "cfx/bundles/mnist/bundle.toml" in names
    assets = {f"cfx/reports/assets/{path.name}" for path in (REPOSITORY / "reports/assets").iterdir()}
    assert {name for name in names if name.startswith("cfx/reports/assets/")} == assets
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    unwanted = ("cfx/tests/", "cfx/examples/", "cfx/docs/", "cfx/benchmarks/studies/")
    strays = [name for name in names if name.startswith(unwanted)]
    assert not strays


@pytest.mark.slow
def test_installed_elsewhere_it_finds_its_bundle(
    wheel: Path, install: Callable[[Path], Path], shell: Callable[..., str], tmp_path: Path
) -> None:
    """A clean environment with the wheel; the dependencies are borrowed from this one."""
    python = install(wheel)
    site = Path(shell(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = Path(shell(python, "-c", "import cfx; print(cfx.__file__)", cwd=elsewhere).strip())
    assert where.is_relative_to(site)
    information = json.loads(shell(python.parent / "cfx", "info", "--format", "json", cwd=elsewhere))
    (shipped,) = [bundle for bundle in information["bundles"] if bundle["name"] == "mnist"]
    assert Path(shipped["directory"]).is_relative_to(site)
    assert shipped["verified"]
