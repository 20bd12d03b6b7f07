"""The work of `cfx bench`: answer the open questions, summarise, print, and check the gates."""

from __future__ import annotations

from ..benchmarks.compare import changes, check_questions, finished, read_baseline
from ..benchmarks.suite import Benchmark
from ..bundles.bundle import load_bundle, pick_device
from ..memory import keep_freed_memory
from ..metrics.evaluate import load_scoring
from ..reports.gates import check_engines, check_gate, write_junit
from .bench import BenchOptions
from .engines import load_engines
from .exit_code import ExitCode
from .terminal.tables import print_changes, print_summary
from .terminal.terminal import Terminal


def run(options: BenchOptions, terminal: Terminal) -> ExitCode:
    """Run the benchmark, check the gates, and return the exit code."""
    with terminal.task("loading the models"):
        keep_freed_memory()
        before = None if options.baseline is None else read_baseline(options.baseline)
        bundle = load_bundle(options.bundle, pick_device(options.device))
        confidence = options.settings.confidence
        engines = load_engines(options.engines, bundle, confidence, leave_out=options.every_engine, note=terminal.note)
        benchmark = Benchmark(bundle, engines, options.settings, options.command)
        check_engines(options.gates, list(benchmark.engines), None if before is None else list(before.columns))
        load_scoring(bundle)
    try:
        with benchmark.open() as begun:
            if not begun:
                benchmark.sample(terminal)
            run = benchmark.load()
            for text in run.manifest.unreadable:
                terminal.error(text)
            if before is not None:
                check_questions(before, run.questions)
            summary = benchmark.run(run, terminal)
    except KeyboardInterrupt:
        terminal.note(f"interrupted; run the same command again to resume {benchmark.directory}")
        raise
    print_summary(terminal, summary, options.format)
    changed = {} if before is None else changes(finished(run, summary).columns, before.columns)
    if before is not None and options.format == "table":
        print_changes(terminal, changed, before.run.directory)
    outcomes = [check_gate(gate, summary, changed) for gate in options.gates]
    for outcome in outcomes:
        terminal.gate(outcome.says, outcome.passed)
    if options.junit is not None:
        write_junit(options.junit, outcomes, f"cfx bench {benchmark.directory}")
    terminal.note(f"{benchmark.directory / 'index.html'} shows plots and all answers, the worst first")
    if run.manifest.unreadable:
        return ExitCode.WRONG_USAGE
    return ExitCode.DONE if all(outcome.passed for outcome in outcomes) else ExitCode.ANSWERED_NO
