"""`cfx bench`: engines on many images, side by side, with gates for CI."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..counterfactuals.registry import CONTROL, engine_names
from ..errors import UsageError
from .options import DEVICES, TABLE_FORMATS, check_choice, chosen_engines, load_engines, pick_device

DONE, GATE_FAILED, UNREADABLE = 0, 1, 2


def bench(
    bundle: Annotated[str, typer.Option(metavar="NAME|DIR", help="Models to explain and to search with.")] = "mnist",
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
    confidence: Annotated[
        float, typer.Option(metavar="P", help="Least probability of the target in a valid counterfactual.")
    ] = 0.9,
    controls: Annotated[
        bool, typer.Option("--controls", help="Also the factual itself, real images of the target class, and pixel.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The run's directory  [default: runs/, named for the settings]"),
    ] = None,
    batch_size: Annotated[str, typer.Option(metavar="auto|N", help="Images in memory at once.")] = "auto",
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where models run.")] = "auto",
    lpips: Annotated[bool, typer.Option("--lpips/--no-lpips", help="LPIPS, where its backbone is to be had.")] = True,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(metavar="EXPR", help="A gate, such as 'latent.validity>=0.99'; may be given more than once."),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="RUN", help="An earlier run on the same questions to compare with.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="The gates as a JUnit report.")] = None,
    format: Annotated[
        str, typer.Option(metavar="table|json|csv|markdown", help="What stands on stdout in the end.")
    ] = "table",
) -> None:
    """Compare engines on many images, and gate a build on it.

    A run is a directory with a page to look at (index.html), a record for each image and engine, and a summary.
    Killed at any point, the same command goes on where it was.

    A gate is ENGINE.METRIC>=NUMBER (or <=, >, <; ENGINE.METRIC.median), or ENGINE.METRIC>=baseline, which fails where
    the difference to the baseline is beyond its paired 95 % interval. Metrics: docs/metrics.md.

    Exit code 0: done, and every gate passed; 1: a gate failed; 2: wrong usage or unreadable image.
    """
    # Wrong words are found out before torch is imported, which takes seconds.
    check_choice("format", format, TABLE_FORMATS)
    check_choice("device", device, DEVICES)
    names = chosen_engines(engines)
    if controls and CONTROL not in names and CONTROL in engine_names():
        names.append(CONTROL)
    size = _batch_size(batch_size)
    if junit is not None and not fail_under:
        raise UsageError("--junit: reports gates, and there are none; give at least one --fail-under")
    from .bench_view import BenchScreen, print_changes, print_summary
    from .render import Screen

    screen = Screen()
    with screen.busy("loading the models"):
        from ..benchmarks.compare import changes, check_questions, read_baseline, read_finished
        from ..benchmarks.gates import check_gate, parse_gate, write_junit
        from ..benchmarks.suite import Benchmark, Settings
        from ..bundles.bundle import load_bundle
        from ..memory import keep_freed_memory
        from ..metrics.evaluate import load_scoring

        keep_freed_memory()
        before = None if baseline is None else read_baseline(baseline)
        loaded = load_bundle(bundle, pick_device(device))
        everything = "all" in engines.split(",")
        built = load_engines(names, loaded, confidence, leave_out=everything, note=screen.note)
        settings = Settings(images, data, count, targets, seed, confidence, size, controls, lpips, out)
        benchmark = Benchmark(loaded, built, settings, ["cfx", *sys.argv[1:]])
        known = None if before is None else list(before.answers)
        gates = [parse_gate(text, list(benchmark.engines), baseline=known) for text in fail_under or ()]
        load_scoring(loaded)
    try:
        with benchmark.open() as begun:
            if not begun:
                with screen.busy("reading", total=benchmark.count) as advance:
                    benchmark.draw(screen.note, advance)
            run = benchmark.load()
            unreadable = run.manifest["unreadable"]
            for text in unreadable:
                screen.error(text)
            if before is not None:
                check_questions(before, run.pairs)
            with BenchScreen(screen, run, list(benchmark.engines)) as watcher:
                summary = benchmark.run(run, watcher)
    except KeyboardInterrupt:
        screen.note(f"interrupted; the same command goes on with {benchmark.directory}")
        raise
    print_summary(screen, summary, format)
    changed = {}
    if before is not None:
        changed = changes(read_finished(benchmark.directory).answers, before.answers)
        if format == "table":
            print_changes(screen, changed, before.run.directory)
    outcomes = [check_gate(gate, summary, changed) for gate in gates]
    for outcome in outcomes:
        screen.gate(outcome.says, outcome.passed)
    if junit is not None:
        write_junit(junit, outcomes, f"cfx bench {benchmark.directory}")
    screen.note(f"{benchmark.directory / 'index.html'}: pictures, plots, worst cases first")
    failed = not all(outcome.passed for outcome in outcomes)
    raise typer.Exit(UNREADABLE if unreadable else GATE_FAILED if failed else DONE)


def _batch_size(wanted: str) -> int | None:
    """The number, or None for auto."""
    if wanted == "auto":
        return None
    if not wanted.isdecimal() or int(wanted) < 1:
        raise UsageError(f"--batch-size {wanted}: expected auto or a number from 1 on")
    return int(wanted)
