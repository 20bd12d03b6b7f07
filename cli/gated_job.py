"""The work that all commands with a run and gates share: the lock, the time limit, the gates, JUnit, the exit code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from ..runs.directory import RunDirectory
from ..runs.gates import Outcome, check_subjects
from ..runs.identity import RunIdentity
from ..runs.junit import JUnitReport
from ..runs.manifest import Manifest
from ..runs.outcomes import Changes, Figures, check_gate
from .exit_code import ExitCode
from .options.gates import GateOptions
from .stopping import TimedOut, time_limit
from .terminal.terminal import Terminal


class GatedJob(ABC):
    """One invocation of a command with a run and gates. A subclass says what its work is; `run` does the rest.

    Args:
        gating: the gates, the time limit, the baseline and the report.
        terminal: prints tables, notes and errors.

    Attributes:
        command: name of the command.
        directory: of the run, once it is known.
    """

    command: ClassVar[str]

    def __init__(self, gating: GateOptions, terminal: Terminal) -> None:
        self.gating = gating
        self.terminal = terminal
        self.directory: RunDirectory[Any] | None = None
        self._began = datetime.now(UTC)

    @abstractmethod
    def prepare(self) -> tuple[RunDirectory[Any], RunIdentity]:
        """Load what is needed to know which run this is; gates are checked here with `check_gates`."""

    @abstractmethod
    def begin(self) -> None:
        """Write what a run begins with, its manifest last; called once for a run, with its directory locked."""

    @abstractmethod
    def work(self) -> None:
        """Do what the run lacks, with its directory locked."""

    @abstractmethod
    def figures(self) -> Figures:
        """The figures that gates look at."""

    @abstractmethod
    def show(self, outcomes: Sequence[Outcome]) -> None:
        """Write the results, with the outcomes of the gates, and print them."""

    def changes(self) -> Changes:
        """The paired differences to the baseline; by default there are none."""
        return {}

    def subject_seconds(self) -> Mapping[str, float]:
        """How long each subject took, for the report; by default it is not known."""
        return {}

    def faults(self) -> Sequence[str]:
        """What is wrong besides gates, a sentence each, so that the exit code is 2; by default nothing is."""
        return ()

    def check_gates(self, subjects: Sequence[str], baseline: Sequence[str] | None = None) -> None:
        """Raise a UsageError if a gate names a subject that the run, or the earlier run, does not have."""
        check_subjects(self.gating.gates, self.gating.vocabulary, subjects, baseline)

    def run(self) -> ExitCode:
        """Do the work, check the gates, and return the exit code."""
        terminal, seconds = self.terminal, self.gating.seconds
        try:
            with time_limit(seconds):
                return self._run()
        except TimedOut:
            text = f"--timeout: the time is up after {seconds:g} s; run the same command again to resume"
            terminal.error(f"{text} {self._named}")
            self._report("timeout", text)
            return ExitCode.ANSWERED_NO
        except KeyboardInterrupt:
            terminal.note(f"interrupted; run the same command again to resume {self._named}")
            raise

    @property
    def _named(self) -> str:
        return "the run" if self.directory is None else str(self.directory.path)

    def _run(self) -> ExitCode:
        with self.terminal.task("loading the models"):
            directory, identity = self.prepare()
        directory.note = self.terminal.note
        self.directory = directory
        with directory.held(identity, fresh=self.gating.fresh) as begun:
            if not begun:
                self.begin()
            unreadable = Manifest.read(directory.path).unreadable
            for text in unreadable:
                self.terminal.error(text)
            self.work()
            return self._close(unreadable)

    def _close(self, unreadable: Sequence[str]) -> ExitCode:
        """Check the gates, show the results, and write the report."""
        gating, figures, changes = self.gating, self.figures(), self.changes()
        outcomes = [check_gate(gate, gating.vocabulary, figures, changes, least=gating.least) for gate in gating.gates]
        self.show(outcomes)
        for outcome in outcomes:
            self.terminal.gate(outcome.says, outcome.passed)
        faults = self.faults()
        for text in faults:
            self.terminal.error(text)
        what = "; ".join(unreadable) if len(unreadable) < 4 else f"{len(unreadable)} images, such as {unreadable[0]}"
        kind = "no-attempt" if faults else "unreadable-input" if unreadable else None
        self._report(kind, "; ".join(filter(None, (*faults, what))), outcomes)
        if kind is not None:
            return ExitCode.WRONG_USAGE
        return ExitCode.DONE if all(outcome.passed for outcome in outcomes) else ExitCode.ANSWERED_NO

    def _report(self, kind: str | None, error: str, outcomes: Sequence[Outcome] = ()) -> None:
        """Write the JUnit report, if one is asked for; `kind` is that of the error, if there is one."""
        if self.gating.junit is None:
            return
        JUnitReport(
            command=self.command,
            run=self._named,
            began=self._began,
            seconds=(datetime.now(UTC) - self._began).total_seconds(),
            outcomes=outcomes,
            subject_seconds=self.subject_seconds() if outcomes else {},
            error=None if kind is None else (kind, error),
        ).write(self.gating.junit)
