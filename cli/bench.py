"""`cfx bench`: compare engines on many images, with gates for CI."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..benchmarks.settings import Settings
from ..counterfactuals.registry import CONTROL, engine_names
from ..errors import UsageError
from ..reports.gates import Gate, parse_gate
from .options import choices
from .options.choices import DEVICES, TABLE_FORMATS, asks_for_all, check_choice, chosen_engines
from .options.types import BundleOption, ConfidenceOption, DeviceOption, TableFormatOption
from .running import run_job


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """The options of `cfx bench`, parsed. `bench` describes each.

    Attributes:
        engines: names of the engines.
        every_engine: "all" was asked for, so engines that cannot be used are left out.
        settings: the settings of the benchmark.
        gates: the gates, parsed.
        command: the command as it was typed.
    """

    bundle: str
    engines: tuple[str, ...]
    every_engine: bool
    settings: Settings
    device: str
    gates: tuple[Gate, ...]
    baseline: Path | None
    junit: Path | None
    format: str
    command: tuple[str, ...]


def bench(
    bundle: BundleOption = "mnist",
    engines: Annotated[
        str, typer.Option("--engines", "--engine", metavar="NAMES|all", help="Engines to compare, separated by commas.")
    ] = "all",
    count: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--count",
            metavar="N",
            min=1,
            help="Maximum number of images  [default: 1000 of a data set, else all]",
        ),
    ] = None,
    images: Annotated[
        str | None, typer.Option(metavar="DIR", help="Directory of images to use instead of the data set's test split.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", envvar="CFX_DATA", help="Directory of torchvision's data sets.")
    ] = None,
    targets: Annotated[
        str, typer.Option(metavar="random|runner-up|all|CSV", help="Target classes; CSV: a file of image,target rows.")
    ] = "random",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the random number generator.")] = 0,
    confidence: ConfidenceOption = 0.9,
    controls: Annotated[
        bool, typer.Option("--controls", help="Also run the controls: factual, real images and pixel.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of the run  [default: runs/, named after the settings]"),
    ] = None,
    batch_size: Annotated[str, typer.Option(metavar="auto|N", help="Number of images in a batch.")] = "auto",
    device: DeviceOption = "auto",
    lpips: Annotated[
        bool, typer.Option("--lpips/--no-lpips", help="Compute LPIPS if its backbone is installed.")
    ] = True,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(metavar="EXPR", help="Gate that the run must pass, such as 'latent.validity>=0.99'; repeatable."),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Earlier run on the same questions to compare with.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the gates to FILE as a JUnit report.")
    ] = None,
    format: TableFormatOption = "table",
) -> None:
    """Compare engines on many images, and check gates in CI.

    A run is a directory that holds a page (index.html), a record for each image and engine, and a summary. If a run is
    interrupted, the same command resumes it.

    A gate is ENGINE.METRIC>=NUMBER (or <=, >, <; ENGINE.METRIC.median), or ENGINE.METRIC>=baseline. The latter fails if
    the metric is worse than the baseline's and the paired 95 % interval of the difference excludes zero. The metrics
    are described in docs/metrics.md.

    Exit code 0: done, and every gate passed; 1: a gate failed; 2: wrong usage or an unreadable image.
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
        settings=Settings(
            images=images,
            data=data,
            count=count,
            targets=targets,
            seed=seed,
            confidence=confidence,
            batch_size=choices.batch_size(batch_size),
            controls=controls,
            lpips=lpips,
            out=out,
        ),
        device=device,
        gates=tuple(parse_gate(text, baseline=baseline is not None) for text in fail_under or ()),
        baseline=baseline,
        junit=junit,
        format=format,
        command=("cfx", *sys.argv[1:]),
    )
    run_job("bench_job", options)
