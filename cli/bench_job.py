"""The work of `cfx bench`: answer the open questions, summarise and print; `gated_job.py` does the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from ..benchmarks.compare import Finished, changes, check_questions, finished, other_differences, read_baseline
from ..benchmarks.finish import write_results
from ..benchmarks.run import Outcome as Recorded
from ..benchmarks.run import Run
from ..benchmarks.suite import Benchmark
from ..bundles.bundle import load_bundle, pick_device
from ..counterfactuals.choosing import EngineLoader
from ..memory import keep_freed_memory
from ..metrics.evaluate import load_scoring
from ..reports.summary import Summary
from ..runs.directory import PAGE, RunDirectory
from ..runs.gates import Outcome
from ..runs.identity import RunIdentity
from ..runs.outcomes import Changes, Figures
from .bench import BenchOptions
from .exit_code import ExitCode
from .gated_job import GatedJob
from .terminal.tables import print_changes, print_summary
from .terminal.terminal import Terminal

TOLD = 3  # failures of an engine; more are counted


def run(options: BenchOptions, terminal: Terminal) -> ExitCode:
    """Run the benchmark, check the gates, and return the exit code."""
    return BenchJob(options, terminal).run()


class BenchJob(GatedJob):
    """One invocation of `cfx bench`.

    Args:
        options: the options of the command.
        terminal: prints tables, notes and errors.
    """

    command: ClassVar[str] = "bench"

    benchmark: Benchmark
    results: Run
    summary: Summary

    def __init__(self, options: BenchOptions, terminal: Terminal) -> None:
        super().__init__(options.gating, terminal)
        self.options = options
        self.before: Finished | None = None
        self._is_written = False
        self._changes: Changes = {}

    def prepare(self) -> tuple[RunDirectory[Recorded], RunIdentity]:
        options = self.options
        keep_freed_memory()
        if self.gating.baseline is not None:
            self.before = read_baseline(self.gating.baseline)
        loader = EngineLoader(options.engines, self.terminal.note)
        bundle = load_bundle(options.bundle, pick_device(options.device), options.explained)
        engines = loader.load(bundle, options.settings.confidence)
        self.benchmark = Benchmark(bundle, engines, options.settings, options.command)
        self.check_gates([*self.benchmark.engines], None if self.before is None else [*self.before.columns])
        return self.benchmark.directory, self.benchmark.identity

    def begin(self) -> None:
        self.benchmark.sample(self.terminal)

    def work(self) -> None:
        benchmark, terminal = self.benchmark, self.terminal
        self.results = run = benchmark.load()
        if self.before is not None:
            check_questions(self.before, run.questions)
        stored = benchmark.finished_summary(run)
        if stored is not None:
            terminal.note(f"{run.path}: finished on {stored.finished}; nothing was searched")
            self.summary, self._is_written = stored, True
        else:
            load_scoring(benchmark.bundle)
            with terminal.work(f"bench: {len(run.questions)} questions, engines {', '.join(benchmark.engines)}"):
                self.summary = benchmark.answer(run, terminal)
        for engine, failures in run.failures.items():
            for failed in failures[:TOLD]:
                terminal.note(f"no attempt: {failed}")
            if len(failures) > TOLD:
                terminal.note(f"no attempt: engine {engine} on {len(failures) - TOLD} more questions")

    def faults(self) -> Sequence[str]:
        total = len(self.results.questions)
        return [
            f"engine {name}: no attempt at any of the {total} questions: {failures[-1].reason}"
            for name, failures in self.results.failures.items()
            if len(failures) == total
        ]

    def figures(self) -> Figures:
        return self.summary.figures

    def changes(self) -> Changes:
        if self.before is not None:
            self._changes = changes(finished(self.results, self.summary).columns, self.before.columns)
        return self._changes

    def subject_seconds(self) -> Mapping[str, float]:
        return {name: engine.seconds for name, engine in self.summary.engines.items()}

    def show(self, outcomes: Sequence[Outcome]) -> None:
        run, terminal, format = self.results, self.terminal, self.options.format
        if not self._is_written or tuple(outcomes) != self.summary.gates:
            self.summary = replace(self.summary, gates=tuple(outcomes))
            write_results(run, self.summary)
        print_summary(terminal, self.summary, format)
        if self.before is not None:
            for difference in other_differences(self.before.run, run):
                terminal.note(difference)
            if format == "table":
                print_changes(terminal, self._changes, f"change against {self.before.run.path}")
        terminal.note(f"{run.path / PAGE} shows plots and all answers, the worst first")
