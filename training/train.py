"""Trains a bundle: makes its parts, then asks its engines held-out questions, and stores what they reach."""

from __future__ import annotations

from collections.abc import Sequence

from ..bundles.bundle import Bundle
from ..counterfactuals.choosing import EngineLoader
from ..counterfactuals.engine import Engine
from ..counterfactuals.registry import DEFAULT_ENGINE, EngineChoice, engine_names, load_engine
from ..errors import BundleError
from ..progress import SILENT, Progress
from .reach import IMAGES_OF_CLASS, try_pairs
from .session import TrainingSession, is_finished
from .trial import best_of, is_whole, try_engines

SHARE_OF_TRIAL = 0.7  # of the time that is left; the rest is for the pairs of classes


def train(
    session: TrainingSession,
    progress: Progress = SILENT,
    *,
    only: Sequence[str] = (),
    more: bool = False,
    trial: bool = True,
) -> Bundle:
    """Make the parts that a bundle lacks; when it has all of them, try its engines.

    Args:
        session: with the images, the recipe and the budget.
        progress: is told of the trials; the session reports the parts to its own.
        only, more: as in `TrainingSession.make`.
        trial: make the best engine of a trial the bundle's; without it, the bundle's engine stays what it is.

    Raises:
        UsageError, BundleError, DataError: as `TrainingSession.make`.
    """
    bundle = session.make(only, more=more)
    if is_finished(session.directory):
        if trial:
            bundle = _try(session, progress)
        if bundle.file.reach is None or bundle.file.reach.engine != bundle.engine:
            bundle = _try_pairs(session, progress)
    return bundle


def _try(session: TrainingSession, progress: Progress) -> Bundle:
    """Try all engines on held-out questions, if it was not done, and make the best the engine of the bundle."""
    bundle = session.bundle
    every = EngineLoader(EngineChoice(names=tuple(engine_names()), every=True), progress.note)
    engines = every.load(bundle, Engine.confidence, candidates=True)
    images = session.held_out_photos()
    if is_whole(bundle.file.trial, engines, len(images)):
        return bundle
    left = session.seconds_left
    with progress.task("trying the engines"):
        trial = try_engines(bundle, engines, images, seconds=None if left is None else left * SHARE_OF_TRIAL)
    best = best_of(trial)
    if best is None:
        progress.note(f"no time is left to try the engines; {bundle.file.engine} stays the one of the bundle")
        return bundle
    bundle.update(trial=trial, engine=best)
    return bundle


def _try_pairs(session: TrainingSession, progress: Progress) -> Bundle:
    """Try how often the engine of the bundle reaches each class from each other one, and store it in the bundle."""
    bundle = session.bundle
    name = bundle.engine or DEFAULT_ENGINE
    try:
        engine = load_engine(name).from_models(bundle.models)
    except BundleError as error:
        progress.note(f"what is far is not tried: {error}")
        return bundle
    with progress.task("trying every pair of classes"):
        images = session.held_out_photos(IMAGES_OF_CLASS * len(bundle.present))
        bundle.update(reach=try_pairs(bundle, engine, images, seconds=session.seconds_left))
    return bundle
