"""The work of `cfx train`."""

from __future__ import annotations

from ..bundles.bundle import Bundle
from ..memory import keep_freed_memory
from ..training.opening import open_session, reopen_session
from ..training.recipe import find_recipe
from ..training.session import check_is_of, is_finished
from .exit_code import ExitCode
from .terminal.bundles import print_bundle_parts
from .terminal.terminal import Terminal
from .train import TrainOptions


def run(options: TrainOptions, terminal: Terminal) -> ExitCode:
    """Train the parts that the bundle lacks, and return the exit code."""
    directory = options.bundle
    if options.recipe is not None:
        check_is_of(find_recipe(options.recipe), directory)
    keep_freed_memory()
    if not options.only and is_finished(directory):
        finished = Bundle(directory)
        finished.verify()
        terminal.note(f"{directory}: every part is trained; retrain one with --only PART")
        print_bundle_parts(terminal.out, finished)
        return ExitCode.DONE
    if options.recipe is None:
        session = reopen_session(directory, progress=terminal, budget=options.seconds)
    else:
        session = open_session(
            options.recipe, options.data, directory, progress=terminal, joint=options.joint, budget=options.seconds
        )
    for note in session.notes:
        terminal.note(note)
    try:
        with terminal.work(f"train: {directory}"):
            bundle = session.make(options.only)
    except KeyboardInterrupt:
        terminal.note(f"interrupted; run the same command again to resume {directory}")
        raise
    print_bundle_parts(terminal.out, bundle)
    return ExitCode.DONE
