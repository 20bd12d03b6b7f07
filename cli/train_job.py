"""The work of `cfx train`."""

from __future__ import annotations

from ..bundles.bundle import Bundle, pick_device
from ..memory import keep_freed_memory
from ..training.opening import open_session, reopen_session
from ..training.recipe import find_recipe
from ..training.session import check_is_of, is_finished
from ..training.train import train
from .exit_code import ExitCode
from .terminal.bundles import print_bundle_parts, print_reach, print_trial
from .terminal.terminal import Terminal
from .train import TrainOptions


def run(options: TrainOptions, terminal: Terminal) -> ExitCode:
    """Train the parts that the bundle lacks, and return the exit code."""
    directory = options.bundle
    if options.recipe is not None:
        check_is_of(find_recipe(options.recipe), directory)
    keep_freed_memory()
    if not options.only and not options.more and is_finished(directory):
        finished = Bundle(directory)
        finished.verify()
        terminal.note(f"{directory}: every part is trained; retrain one with --only PART, or go on with --more TIME")
        print_bundle_parts(terminal.out, finished)
        return _say_whether_ready(finished, terminal)
    device = pick_device(options.device)
    if options.recipe is None:
        session = reopen_session(directory, progress=terminal, budget=options.seconds, device=device)
    else:
        session = open_session(
            options.recipe,
            options.data,
            directory,
            progress=terminal,
            joint=options.joint,
            budget=options.seconds,
            device=device,
        )
    for note in session.notes:
        terminal.note(note)
    try:
        with terminal.work(f"train: {directory}"):
            bundle = train(session, terminal, only=options.only, more=options.more, trial=options.recipe is None)
    except KeyboardInterrupt:
        terminal.note(f"interrupted; run the same command again to resume {directory}")
        raise
    print_bundle_parts(terminal.out, bundle)
    return _say_whether_ready(bundle, terminal)


def _say_whether_ready(bundle: Bundle, terminal: Terminal) -> ExitCode:
    """Print whether the bundle can be used, and return the exit code."""
    useless = [name for name, entry in bundle.parts.items() if entry.verdict == "useless"]
    print_trial(terminal.out, bundle)
    print_reach(terminal.out, bundle)
    where = bundle.directory
    if useless:
        few = f"{', '.join(useless)} {'is' if len(useless) == 1 else 'are'} useless"
        terminal.out.print(f"do not use this bundle yet: {few}; run `cfx train {where} --more 10m`")
        return ExitCode.ANSWERED_NO
    if is_finished(bundle.directory):
        terminal.out.print(f"ready: cfx explain PHOTO --bundle {where}")
    return ExitCode.DONE
