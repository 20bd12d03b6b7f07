"""Whether a new bundle opens, and its classifier answers as the one that was checked."""

from __future__ import annotations

from pathlib import Path

import torch

from ..bundles.bundle import load_bundle
from ..classifiers.foreign.adapted import Adapted
from ..errors import BundleError, CfxError
from ..images.sets.labelled import Labelled
from ..intake.probe import difference

LOOKED_AT = 4  # images
MAX_GAP = 0.03  # of the largest logit; half precision and other orders of summation stay below


def check_reopens(directory: Path, classifier: Adapted, sample: Labelled) -> None:
    """Open a bundle that was just written, and compare its classifier's answers.

    Args:
        directory: of the bundle.
        classifier: as it was checked.
        sample: images in the bundle's shape.

    Raises:
        BundleError: it cannot be opened, or its classifier gives other answers.
    """
    images = sample.floats(slice(0, LOOKED_AT))
    try:
        again = load_bundle(str(directory)).classifier
        with torch.no_grad():
            gap = difference(classifier(images), again(images))
    except CfxError as error:
        raise BundleError(f"{directory}: the new bundle cannot be opened: {error}") from error
    if gap > MAX_GAP:
        raise BundleError(
            f"{directory}: the classifier in the new bundle gives other answers than the one it was made from (by "
            f"{gap:.0%} of the largest value): it depends on something that is not in its files; export it as a .pt2"
        )
