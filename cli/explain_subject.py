"""Opens what `cfx explain` explains: a bundle, or a classifier without one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..bundles.bundle import Bundle, load_bundle, pick_device
from ..classifiers.foreign.opening import open_classifier
from ..intake.standalone import StandaloneClassifier, first_photos, open_with_images, open_with_photos, photos_of
from .explain_options import ExplainOptions, OwnClassifier
from .terminal.terminal import Terminal


def open_subject(options: ExplainOptions, photos: Sequence[Path], terminal: Terminal) -> Bundle:
    """Open the bundle, or examine the classifier, and print what was found out about it.

    Args:
        options: of the command.
        photos: the images to explain.
        terminal: for notes and warnings.

    Raises:
        UsageError, DataError, BundleError, ImageError: it cannot be opened, or does not match the images.
    """
    device = pick_device(options.device)
    if options.classifier is None:
        return load_bundle(options.bundle, device, options.explained or "classifier")
    standalone = examined(options.classifier, photos, device)
    for note in standalone.notes:
        terminal.note(note)
    for warning in standalone.warnings:
        terminal.warning(warning)
    terminal.note(
        f"{'; '.join(standalone.bundle.notes)}; for realistic answers make a bundle: `cfx init my-bundle --classifier "
        f"{options.classifier.spec} --images DIR`, then `cfx train my-bundle`"
    )
    return standalone.bundle


def examined(classifier: OwnClassifier, photos: Sequence[Path], device: str) -> StandaloneClassifier:
    """Examine a classifier on labelled images or, without any, on the images to explain."""
    foreign = open_classifier(classifier.spec, classifier.weights)
    if classifier.images is not None:
        return open_with_images(foreign, classifier.images, classifier.settings, device)
    size, channels = first_photos(photos)
    return open_with_photos(foreign, photos_of(photos), size, channels, classifier.settings, device)
