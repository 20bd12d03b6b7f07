"""Opens what `cfx explain` explains: a bundle, or a classifier without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..bundles.bundle import Bundle, load_bundle, pick_device
from ..classifiers.foreign.contract import Foreign
from ..classifiers.foreign.opening import open_classifier
from ..errors import CfxError
from ..intake.standalone import Alike, StandaloneClassifier, alike, open_with_images, open_with_photos, photos_of
from .explain_inputs import Errors, Input
from .explain_options import ExplainOptions, OwnClassifier
from .terminal.terminal import Terminal


@dataclass(frozen=True)
class Subject:
    """What is explained, and the images that are asked about together.

    Attributes:
        bundle: holds the classifier. Without a bundle of the user's, its shape is that of these images.
        inputs: the images.
    """

    bundle: Bundle
    inputs: list[Input]


def open_subjects(
    options: ExplainOptions, inputs: Sequence[Input], errors: Errors, terminal: Terminal
) -> list[Subject]:
    """Open the bundle, or examine the classifier for each shape of images, and print what was found out about it.

    Args:
        options: of the command.
        inputs: the images to explain.
        errors: reports images of a shape that the classifier does not take, if it takes that of others.
        terminal: for notes and warnings.

    Raises:
        UsageError, DataError, BundleError, ImageError: it cannot be opened, or does not match the images.
    """
    device = pick_device(options.device)
    own = options.classifier
    if own is None:
        return [Subject(load_bundle(options.bundle, device, options.explained or "classifier"), [*inputs])]
    foreign = open_classifier(own.spec, own.weights)
    if own.images is not None:
        standalone = open_with_images(foreign, own.images, own.settings, device)
        _tell(standalone, own, terminal, set())
        return [Subject(standalone.bundle, [*inputs])]
    groups = alike(foreign, [each.path for each in inputs], own.settings)
    subjects: list[Subject] = []
    failed: list[tuple[Input, CfxError]] = []
    said: set[str] = set()
    for group in groups:
        these = [inputs[place] for place in group.places]
        try:
            standalone = _examined(foreign, own, group, these, device)
        except CfxError as error:
            failed += [(each, error) for each in these]
            continue
        _tell(standalone, own, terminal, said)
        subjects.append(Subject(standalone.bundle, these))
    if not subjects:
        raise failed[0][1]
    for each, error in failed:
        errors.add(each.name, type(error)(f"{each.name}: {error}"))
    return subjects


def _examined(
    foreign: Foreign, own: OwnClassifier, group: Alike, inputs: Sequence[Input], device: str
) -> StandaloneClassifier:
    """The classifier, examined on images of one shape."""
    photos = photos_of([each.path for each in inputs])
    return open_with_photos(foreign, photos, group.size, group.channels, own.settings, device)


def _tell(standalone: StandaloneClassifier, own: OwnClassifier, terminal: Terminal, said: set[str]) -> None:
    """Print what was found out about a classifier, each sentence once."""
    advice = (
        f"{'; '.join(standalone.bundle.notes)}; for realistic answers make a bundle: `cfx init my-bundle --classifier "
        f"{own.spec} --images DIR`, then `cfx train my-bundle`"
    )
    for note in [*standalone.notes, advice]:
        if note not in said:
            terminal.note(note)
    for warning in standalone.warnings:
        if warning not in said:
            terminal.warning(warning)
    said |= {*standalone.notes, *standalone.warnings, advice}
