"""`cfx info`: versions, devices, engines, bundles, and what is not available and why."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import __version__
from ..counterfactuals.registry import CONTROL, DEFAULT_ENGINE, by_rank, engine_names, load_engine
from ..errors import CfxError
from .options import FORMATS, check_choice

if TYPE_CHECKING:
    from ..bundles.bundle import Bundle
    from ..counterfactuals.engine import Engine

SCHEMA = 1
PART_FIELDS = ("architecture", "file", "sha256", "verdict", "because")


def info(
    directories: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="Bundles of your own.", show_default=False)
    ] = None,
    format: Annotated[str, typer.Option(metavar="text|json", help="json: one object on stdout.")] = "text",
) -> None:
    """Show engines, bundles, devices, and what is missing and why.

    Exit code 0; 1 where a bundle's files do not have the checksums that they should have.
    """
    check_choice("format", format, FORMATS)
    from .render import Screen, print_information

    screen = Screen()
    with screen.busy("looking around"):
        information = collect(directories or [])
    if format == "json":
        screen.line(json.dumps(information, ensure_ascii=False))
    else:
        print_information(screen.out, information)
    if not all(bundle["verified"] for bundle in information["bundles"]):
        raise typer.Exit(1)


def collect(directories: Sequence[Path] = ()) -> dict[str, Any]:
    """Everything there is to know, as the documented JSON object. What fails is told, not raised."""
    missing: list[dict[str, str]] = []
    try:
        torch_version = installed_version("torch")
        import torch  # noqa: F401  # whether it can be imported at all is the first thing to know
    except (PackageNotFoundError, ImportError, OSError) as error:
        missing.append({"what": "torch", "why": f"cannot be imported ({error}); install cfx-toolkit anew"})
        torch_version = None
    there = torch_version is not None
    return {
        "schema": SCHEMA,
        "version": __version__,
        "python": platform.python_version(),
        "torch": torch_version,
        "devices": devices() if there else [],
        "engines": engines(missing) if there else [],
        "bundles": bundles(missing, directories) if there else [],
        "unavailable": missing + (without_lpips() if there else []),
    }


def devices() -> list[dict[str, Any]]:
    """Where models can run."""
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    return [
        {"name": "cpu", "available": True, "detail": f"{torch.get_num_threads()} threads"},
        {"name": "cuda", "available": cuda, "detail": torch.cuda.get_device_name() if cuda else ""},
        {"name": "mps", "available": mps, "detail": ""},
    ]


def engines(missing: list[dict[str, str]]) -> list[dict[str, Any]]:
    """What each engine does, which of a bundle's parts it needs, and where it comes from."""
    loaded: dict[str, type[Engine]] = {}
    for name in engine_names():
        try:
            loaded[name] = load_engine(name)
        except CfxError as error:
            missing.append({"what": f"engine {name}", "why": str(error)})
    result = []
    for name in by_rank(loaded):
        engine = loaded[name]
        about = {"name": name, "summary": engine.summary, "needs": list(engine.needs), "paper": engine.paper}
        result.append({**about, "default": name == DEFAULT_ENGINE, "control": name == CONTROL})
    return result


def bundles(missing: list[dict[str, str]], directories: Sequence[Path]) -> list[dict[str, Any]]:
    """The bundles that come with cfx, and others, with what was measured of them and whether their files are intact."""
    from ..bundles.bundle import Bundle, shipped

    result = []
    for name, directory in shipped().items():
        try:
            result.append(describe(Bundle(directory)))
        except CfxError as error:
            missing.append({"what": f"bundle {name}", "why": str(error)})
    if not result:
        missing.append({"what": "shipped bundles", "why": "none came with this installation; install it anew"})
    result += [describe(Bundle(directory)) for directory in directories]
    return result


def describe(bundle: Bundle) -> dict[str, Any]:
    """One bundle: classes, parts, checksums; hashes its files without loading them."""
    size, damaged = bundle.check_files()
    parts = {
        name: {field: getattr(entry, field) for field in PART_FIELDS} | {"measured": dict(entry.measured)}
        for name, entry in bundle.parts.items()
    }
    return {
        "name": bundle.name,
        "directory": str(bundle.directory),
        "digest": bundle.digest,
        "classes": bundle.classes,
        "shape": list(bundle.shape),
        "bytes": size,
        "verified": not damaged,
        "problem": "; ".join(damaged) + "; restore the bundle" if damaged else None,
        "parts": parts,
    }


def without_lpips() -> list[dict[str, str]]:
    """Why LPIPS cannot be had, or nothing where it can."""
    from ..metrics.perceptual import REMEDY, backbone

    path = backbone()
    if path is None:
        return [{"what": "LPIPS", "why": REMEDY}]
    if not path.is_file():
        return [{"what": "LPIPS", "why": f"{path}: no such file; {REMEDY}"}]
    return []
