"""The counterfactual at the size of the photo: the original plus the enlarged change, and what the model says of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..images.reading import carry_back, read_image
from ..images.resizing import Placement
from ..images.writing import write_picture

if TYPE_CHECKING:
    from torch import Tensor

    from ..bundles.bundle import Bundle


def write_full(
    path: Path, photo: Path, change: Tensor, placement: Placement, bundle: Bundle, *, target: int, confidence: float
) -> str:
    """Write the photo with the change made to it; returns a note that says whether it is still valid, read again.

    Args:
        path: where to.
        photo: the file that was read.
        change: (C, H, W) in [-1, 1], counterfactual less factual.
        placement: where the image that was read lies in the photo.
        bundle: brings the classifier.
        target: index of the class asked for.
        confidence: least probability of the target in a valid counterfactual.
    """
    import torch

    write_picture(path, carry_back(photo, change.cpu(), placement, light_on_dark=bundle.light_on_dark))
    again = read_image(path, bundle.shape, light_on_dark=bundle.light_on_dark, resize=bundle.resize).pixels
    with torch.inference_mode():
        probabilities = bundle.classifier(again[None].to(bundle.device)).softmax(dim=1)[0]
    sure = float(probabilities[target])
    valid = int(probabilities.argmax()) == target and sure >= confidence
    size = "x".join(str(side) for side in reversed(placement.size))
    held = "still valid" if valid else "no longer valid"
    return f"files.full: at the photo's own {size} pixels it is {held}: {100 * sure:.1f} % {bundle.classes[target]}"
