"""The work of `cfx bench`: answer the open questions, summarise, print, and check the gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ..benchmarks.compare import Finished, changes, check_questions, finished, other_differences, read_baseline
from ..benchmarks.finish import write_results
from ..benchmarks.run import Run
from ..benchmarks.suite import Benchmark
from ..bundles.bundle import load_bundle, pick_device
from ..counterfactuals.choosing import EngineLoader
from ..intervals import Estimate
from ..memory import keep_freed_memory
from ..metrics.evaluate import load_scoring
from ..reports.summary import Summary
from ..runs.gates import Outcome, check_engines
from ..runs.junit import JUnitReport
from ..runs.outcomes import check_gate
from .bench import BenchOptions
from .exit_code import ExitCode
from .stopping import TimedOut, time_limit
from .terminal.tables import print_changes, print_summary
from .terminal.terminal import Terminal


def run(options: BenchOptions, terminal: Terminal) -> ExitCode:
    """Run the benchmark, check the gates, and return the exit code."""
    bench = Bench(options, terminal)
    try:
        with time_limit(options.seconds):
            code = bench.go()
    except TimedOut:
        text = f"--timeout: the time is up after {options.seconds:g} s; run the same command again to resume"
        terminal.error(f"{text} {bench.directory}")
        bench.report("timeout", text)
        return ExitCode.ANSWERED_NO
    except KeyboardInterrupt:
        terminal.note(f"interrupted; run the same command again to resume {bench.directory}")
        raise
    return code


@dataclass
class Bench:
    """One invocation of `cfx bench`.

    Attributes:
        options: the options of the command.
        terminal: prints tables, notes and errors.
        directory: the run's directory, as text, once it is known.
        began: when the command began.
    """

    options: BenchOptions
    terminal: Terminal
    directory: str = "the run"
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def go(self) -> ExitCode:
        """Run the benchmark, check the gates, and return the exit code."""
        options, terminal = self.options, self.terminal
        with terminal.task("loading the models"):
            keep_freed_memory()
            before = None if options.baseline is None else read_baseline(options.baseline)
            benchmark = self._benchmark()
            check_engines(options.gates, list(benchmark.engines), None if before is None else list(before.columns))
            self.directory = str(benchmark.directory)
        with benchmark.open() as begun:
            if not begun:
                benchmark.sample(terminal)
            run = benchmark.load()
            for text in run.manifest.unreadable:
                terminal.error(text)
            if before is not None:
                check_questions(before, run.questions)
            stored = benchmark.finished_summary(run)
            if stored is not None:
                terminal.note(f"{benchmark.directory}: finished on {stored.finished}; nothing was searched")
                summary = stored
            else:
                load_scoring(benchmark.bundle)
                with terminal.work(f"bench: {len(run.questions)} questions, engines {', '.join(benchmark.engines)}"):
                    summary = benchmark.answer(run, terminal)
            return self._close(benchmark, run, summary, before, is_written=stored is not None)

    def _benchmark(self) -> Benchmark:
        options = self.options
        loader = EngineLoader(options.engines, self.terminal.note)
        bundle = load_bundle(options.bundle, pick_device(options.device), options.explained)
        engines = loader.load(bundle, options.settings.confidence)
        return Benchmark(bundle, engines, options.settings, options.command)

    def _close(
        self, benchmark: Benchmark, run: Run, summary: Summary, before: Finished | None, *, is_written: bool
    ) -> ExitCode:
        """Print the summary, check the gates, and write them into the results and the JUnit report."""
        options, terminal = self.options, self.terminal
        changed: Mapping[tuple[str, str], Estimate | None] = {}
        if before is not None:
            changed = changes(finished(run, summary).columns, before.columns)
        outcomes = tuple(
            check_gate(gate, summary.figures, changed, min_pairs=options.min_pairs) for gate in options.gates
        )
        if not is_written or outcomes != summary.gates:
            summary = replace(summary, gates=outcomes)
            write_results(run, summary)
        print_summary(terminal, summary, options.format)
        if before is not None:
            for difference in other_differences(before.run, run):
                terminal.note(difference)
            if options.format == "table":
                print_changes(terminal, changed, f"change against {before.run.path}")
        for outcome in outcomes:
            terminal.gate(outcome.says, outcome.passed)
        unreadable = run.manifest.unreadable
        what = "; ".join(unreadable) if len(unreadable) < 4 else f"{len(unreadable)} images, such as {unreadable[0]}"
        kind = "unreadable-input" if unreadable else None
        self.report(kind, what, outcomes, {name: engine.seconds for name, engine in summary.engines.items()})
        terminal.note(f"{benchmark.directory / 'index.html'} shows plots and all answers, the worst first")
        if unreadable:
            return ExitCode.WRONG_USAGE
        return ExitCode.DONE if all(outcome.passed for outcome in outcomes) else ExitCode.ANSWERED_NO

    def report(
        self,
        kind: str | None,
        error: str,
        outcomes: tuple[Outcome, ...] = (),
        engine_seconds: Mapping[str, float] | None = None,
    ) -> None:
        """Write the JUnit report, if one is asked for; `kind` is that of the error, if there is one."""
        if self.options.junit is None:
            return
        JUnitReport(
            name=f"cfx bench {self.directory}",
            began=self.began,
            seconds=(datetime.now(UTC) - self.began).total_seconds(),
            outcomes=outcomes,
            engine_seconds=engine_seconds or {},
            error=None if kind is None else (kind, error),
        ).write(self.options.junit)
