"""The work of `cfx init`."""

from __future__ import annotations

from ..memory import keep_freed_memory
from ..training.setup import set_up
from .exit_code import ExitCode
from .init import InitCommandOptions
from .terminal.bundles import print_checked
from .terminal.terminal import Terminal


def run(options: InitCommandOptions, terminal: Terminal) -> ExitCode:
    """Check the classifier and the images, create the bundle, and return the exit code."""
    keep_freed_memory()
    what = f"init: {options.settings.images} into {options.bundle}"
    with terminal.work(what), terminal.task("checking the classifier and the images"):
        checked = set_up(options.bundle, options.settings)
    for note in checked.notes:
        terminal.note(note)
    for warning in checked.warnings:
        terminal.warning(warning)
    if options.format == "json":
        record = {
            "directory": str(checked.directory),
            "accuracy": checked.accuracy,
            "looked_at": checked.looked_at,
            "confusions": [{"count": n, "labelled": is_, "seen": seen} for n, is_, seen in checked.confusions],
            "bundle": checked.file.as_json(),
            "notes": checked.notes,
            "warnings": checked.warnings,
        }
        terminal.json(record)
    else:
        print_checked(terminal.out, checked)
    return ExitCode.ANSWERED_NO if checked.warnings else ExitCode.DONE
