"""The work of `cfx train`."""

from __future__ import annotations

from ..answers.reach import IMAGES_OF_CLASS, try_pairs
from ..answers.trial import best_of, is_whole, try_engines
from ..bundles.bundle import Bundle, pick_device
from ..counterfactuals.engine import Engine
from ..counterfactuals.registry import DEFAULT_ENGINE, engine_names, load_engine
from ..errors import BundleError
from ..memory import keep_freed_memory
from ..training.opening import open_session, reopen_session
from ..training.recipe import find_recipe
from ..training.session import TrainingSession, check_is_of, is_finished
from .engines import EngineLoader
from .exit_code import ExitCode
from .options.engines import EngineChoice
from .terminal.bundles import print_bundle_parts, print_reach, print_trial
from .terminal.terminal import Terminal
from .train import TrainOptions

SHARE_OF_TRIAL = 0.7  # of the time that is left; the rest is for the pairs of classes


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
            bundle = session.make(options.only, more=options.more)
            if is_finished(directory):
                if options.recipe is None:
                    bundle = _try(session, terminal)
                if bundle.file.reach is None or bundle.file.reach.engine != bundle.engine:
                    bundle = _try_pairs(session, terminal)
    except KeyboardInterrupt:
        terminal.note(f"interrupted; run the same command again to resume {directory}")
        raise
    print_bundle_parts(terminal.out, bundle)
    return _say_whether_ready(bundle, terminal)


def _try(session: TrainingSession, terminal: Terminal) -> Bundle:
    """Try all engines on held-out questions, if it was not done, and make the best the engine of the bundle."""
    bundle = session.bundle
    every = EngineLoader(EngineChoice(names=tuple(engine_names()), every=True), terminal.note)
    engines = every.load(bundle, Engine.confidence, candidates=True)
    images = session.held_out_photos()
    if is_whole(bundle.file.trial, engines, len(images)):
        return bundle
    left = session.seconds_left
    with terminal.task("trying the engines"):
        trial = try_engines(bundle, engines, images, seconds=None if left is None else left * SHARE_OF_TRIAL)
    best = best_of(trial)
    if best is None:
        terminal.note(f"no time is left to try the engines; {bundle.file.engine} stays the one of the bundle")
        return bundle
    bundle.update(trial=trial, engine=best)
    return bundle


def _try_pairs(session: TrainingSession, terminal: Terminal) -> Bundle:
    """Try how often the engine of the bundle reaches each class from each other one, and store it in the bundle."""
    bundle = session.bundle
    name = bundle.engine or DEFAULT_ENGINE
    try:
        engine = load_engine(name).from_models(bundle.models)
    except BundleError as error:
        terminal.note(f"what is far is not tried: {error}")
        return bundle
    with terminal.task("trying every pair of classes"):
        images = session.held_out_photos(IMAGES_OF_CLASS * len(bundle.present))
        bundle.update(reach=try_pairs(bundle, engine, images, seconds=session.seconds_left))
    return bundle


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
