"""`cfx bench`: engines on many images, side by side, with gates for CI."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..counterfactuals.registry import CONTROL, engine_names
from ..errors import UsageError
from ..reports.gates import Gate, parse_gate
from .options import choices
from .options.choices import DEVICES, TABLE_FORMATS, asks_for_all, check_choice, chosen_engines
from .options.types import BundleOption, ConfidenceOption, DeviceOption, TableFormatOption
from .running import run_job


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What was asked for; the options of `cfx bench`, where each is described.

    Attributes:
        engines: by name.
        every_engine: whether engines that cannot be used are left out.
        gates: parsed.
        command: as it was typed.
    """

    bundle: str
    engines: tuple[str, ...]
    every_engine: bool
    count: int | None
    images: str | None
    data: Path | None
    targets: str
    seed: int
    confidence: float
    controls: bool
    out: Path | None
    batch_size: int | None
    device: str
    lpips: bool
    gates: tuple[Gate, ...]
    baseline: Path | None
    junit: Path | None
    format: str
    command: tuple[str, ...]


def bench(
    bundle: BundleOption = "mnist",
    engines: Annotated[
        str, typer.Option("--engines", "--engine", metavar="NAMES|all", help="Engines, with commas between.")
    ] = "all",
    count: Annotated[
        int | None,
        typer.Option("-n", "--count", metavar="N", min=1, help="Most images  [default: 1000 of a data set, else all]"),
    ] = None,
    images: Annotated[
        str | None, typer.Option(metavar="DIR", help="Images to ask about, instead of the data set's test split.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", envvar="CFX_DATA", help="The data set, in torchvision's layout.")
    ] = None,
    targets: Annotated[
        str, typer.Option(metavar="random|runner-up|all|CSV", help="Classes to ask for; CSV: rows of image,target.")
    ] = "random",
    seed: Annotated[int, typer.Option(metavar="N", help="Of the choice of images, targets, and engines' draws.")] = 0,
    confidence: ConfidenceOption = 0.9,
    controls: Annotated[
        bool, typer.Option("--controls", help="Also the factual itself, real images of the target class, and pixel.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The run's directory  [default: runs/, named for the settings]"),
    ] = None,
    batch_size: Annotated[str, typer.Option(metavar="auto|N", help="Images in memory at once.")] = "auto",
    device: DeviceOption = "auto",
    lpips: Annotated[bool, typer.Option("--lpips/--no-lpips", help="LPIPS, where its backbone is to be had.")] = True,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(metavar="EXPR", help="A gate, such as 'latent.validity>=0.99'; may be given more than once."),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="RUN", help="An earlier run on the same questions to compare with.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="The gates as a JUnit report.")] = None,
    format: TableFormatOption = "table",
) -> None:
    """Compare engines on many images, and gate a build on it.

    A run is a directory with a page to look at (index.html), a record for each image and engine, and a summary.
    Killed at any point, the same command goes on where it was.

    A gate is ENGINE.METRIC>=NUMBER (or <=, >, <; ENGINE.METRIC.median), or ENGINE.METRIC>=baseline, which fails where
    the difference to the baseline is beyond its paired 95 % interval. Metrics: docs/metrics.md.

    Exit code 0: done, and every gate passed; 1: a gate failed; 2: wrong usage or unreadable image.
    """
    check_choice("format", format, TABLE_FORMATS)
    check_choice("device", device, DEVICES)
    names = chosen_engines(engines)
    if controls and CONTROL not in names and CONTROL in engine_names():
        names.append(CONTROL)
    if junit is not None and not fail_under:
        raise UsageError("--junit: reports gates, and there are none; give at least one --fail-under")
    options = BenchOptions(
        bundle=bundle,
        engines=tuple(names),
        every_engine=asks_for_all(engines),
        count=count,
        images=images,
        data=data,
        targets=targets,
        seed=seed,
        confidence=confidence,
        controls=controls,
        out=out,
        batch_size=choices.batch_size(batch_size),
        device=device,
        lpips=lpips,
        gates=tuple(parse_gate(text, baseline=baseline is not None) for text in fail_under or ()),
        baseline=baseline,
        junit=junit,
        format=format,
        command=("cfx", *sys.argv[1:]),
    )
    run_job("bench_job", options)
