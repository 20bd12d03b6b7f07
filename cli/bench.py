"""`cfx bench`: compare engines on many images, with gates for CI."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..benchmarks.settings import CONTROLS, GATES, NEAREST_ACCEPTED, Settings
from ..counterfactuals.registry import CONTROL, EngineChoice, engine_names
from ..metrics.catalogue import ON_REQUEST
from ..runs.gates import check_subjects
from .options import choices
from .options.choices import (
    DEVICES,
    STYLES,
    TABLE_FORMATS,
    check_bundle,
    check_choice,
    check_confidence,
    check_images,
    check_output,
    check_targets,
)
from .options.engines import SetOption, choose_engines
from .options.gates import (
    BaselineOption,
    FailUnderOption,
    FreshOption,
    GateOptions,
    JUnitOption,
    OutOption,
    TimeoutOption,
    gate_options,
)
from .options.types import (
    BlackOption,
    BundleOption,
    Common,
    ConfidenceOption,
    DeviceOption,
    QuietOption,
    RecursiveOption,
    RegionOption,
    StrokesOption,
    StyleOption,
    TableFormatOption,
    ThreadsOption,
    WhiteOption,
    given_path,
)
from .running import run_job


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """The options of `cfx bench`, parsed. `bench` describes each.

    Attributes:
        engines: names of the engines.
        explained: name of the part of the bundle that is explained.
        settings: the settings of the benchmark.
        gating: the gates, the time limit, the baseline and the report.
        command: the command as it was typed.
    """

    bundle: str
    explained: str
    engines: EngineChoice
    settings: Settings
    device: str
    gating: GateOptions
    format: str
    command: tuple[str, ...]


def bench(
    bundle: BundleOption = "mnist",
    classifier: Annotated[
        str, typer.Option(metavar="NAME", help="Part of the bundle that is explained, if it has several classifiers.")
    ] = "classifier",
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
        str | None,
        typer.Option(
            metavar="DIR",
            help="Images to use instead of the data set's test split; with --targets label also a CSV of image,label.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", envvar="CFX_DATA", help="Directory of torchvision's data sets.", parser=given_path),
    ] = None,
    recursive: RecursiveOption = False,
    white: WhiteOption = None,
    black: BlackOption = None,
    targets: Annotated[
        str,
        typer.Option(
            metavar="random|runner-up|all|label|CSV",
            help="Target classes; label: of the images that the model gets wrong, what they are (--images: a folder "
            "for each class); CSV: a file of image,target rows.",
        ),
    ] = "random",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the random number generator.")] = 0,
    settings: SetOption = None,
    confidence: ConfidenceOption = 0.9,
    answers: Annotated[
        int, typer.Option(metavar="K", min=1, help="Number of different answers to each question; figures: the first.")
    ] = 1,
    style: StyleOption = "minimal",
    region: RegionOption = None,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls", help="Also run all controls: factual, real images (as they are, blurred, redrawn) and pixel."
        ),
    ] = False,
    out: OutOption = None,
    fresh: FreshOption = False,
    timeout: TimeoutOption = None,
    batch_size: Annotated[str, typer.Option(metavar="auto|N", help="Number of images in a batch.")] = "auto",
    device: DeviceOption = "auto",
    lpips: Annotated[
        bool, typer.Option("--lpips/--no-lpips", help="Compute LPIPS if its backbone is installed.")
    ] = True,
    strokes: StrokesOption = False,
    metrics: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help=f"Also compute these metrics, separated by commas: {', '.join(ON_REQUEST)}."
        ),
    ] = "",
    fail_under: FailUnderOption = None,
    min_pairs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Fail a gate whose figure is computed over fewer than N pairs.")
    ] = 1,
    baseline: BaselineOption = None,
    junit: JUnitOption = None,
    format: TableFormatOption = "table",
    quiet: QuietOption = False,
    threads: ThreadsOption = 0,
) -> None:
    """Compare engines on many images, and check gates in CI.

    A run is a directory that holds a page (index.html), a record for each image and engine, and a summary. If a run is
    interrupted, the same command resumes it.

    A gate is ENGINE.METRIC>=NUMBER (or <=, >, <; ENGINE.METRIC.median, .p95), or ENGINE.METRIC>=baseline-0.02. The
    latter fails if the metric is worse than the baseline by more than 0.02, by the whole paired 95 % interval of the
    difference; >baseline passes only if it is better by the whole interval. docs/metrics.md describes the metrics.

    Exit code 0: done, and every gate passed; 1: a gate failed, or the time is up; 2: wrong usage or an unreadable
    image. docs/exit-codes.md has the details.
    """
    check_choice("format", format, TABLE_FORMATS)
    check_choice("device", device, DEVICES)
    check_choice("style", style, STYLES)
    check_bundle(bundle)
    check_confidence(confidence)
    check_images(images)
    check_targets(targets)
    check_output("--out", out, directory=True)
    also = (CONTROL,) if controls and CONTROL in engine_names() else ()
    chosen = choose_engines(engines, settings or (), also=also)
    gating = gate_options(
        GATES, fail_under, least=min_pairs, timeout=timeout, baseline=baseline, junit=junit, fresh=fresh
    )
    check_subjects(gating.gates, GATES, [*chosen.names, *(CONTROLS if controls else (NEAREST_ACCEPTED,))])
    options = BenchOptions(
        bundle=bundle,
        explained=classifier,
        engines=chosen,
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
            strokes=strokes,
            metrics=choices.metrics_of("--metrics", metrics),
            answers=answers,
            style=style,
            region=None if region is None else choices.region_of("--region", region),
            window=choices.window(black, white),
            recursive=recursive,
            out=out,
        ),
        device=device,
        gating=gating,
        format=format,
        command=("cfx", *sys.argv[1:]),
    )
    run_job("bench_job", options, Common(quiet=quiet, threads=threads))
