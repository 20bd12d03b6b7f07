"""The work of `cfx compare`."""

from __future__ import annotations

from ..benchmarks.compare import as_tables, changes, changes_against, read_finished, side_by_side
from .compare import CompareOptions
from .exit_code import ExitCode
from .terminal.tables import print_changes, print_summary
from .terminal.terminal import Terminal


def run(options: CompareOptions, terminal: Terminal) -> ExitCode:
    """Read the runs, print them, and return the exit code."""
    with terminal.task("reading the runs"):
        finished = [read_finished(directory) for directory in options.runs]
        summary, same = side_by_side(finished)
        differing = None if options.against is None else changes_against(finished, options.against)
    if differing is not None and options.format == "json":
        terminal.json({**summary.as_json(), "against": options.against, "differences": as_tables(differing)})
        return ExitCode.DONE
    print_summary(terminal, summary, options.format)
    if differing is not None:
        print_changes(terminal, differing, f"difference from {options.against}")
    elif same and options.format == "table" and len(finished) == 2:
        changed = changes(finished[1].columns, finished[0].columns)
        if changed:
            print_changes(terminal, changed, f"change against {options.runs[0]}")
    return ExitCode.DONE
