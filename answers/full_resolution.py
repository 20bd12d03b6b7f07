"""Counterfactuals at the size of the original photo: the photo plus the enlarged change, checked by the classifier."""

from __future__ import annotations

from pathlib import Path

from ..bundles.bundle import Bundle
from ..counterfactuals.goal import is_valid
from ..images.reading import carry_back
from ..images.sets.labels import class_index
from ..images.writing import write_picture
from .answer import Answer
from .seen import probabilities_of


def has_larger_photo(answer: Answer, bundle: Bundle) -> bool:
    """Whether the question is about a photo with more pixels than the models take."""
    placement = answer.question.source.placement
    return bundle.is_lowres and placement is not None and placement.shrinks


def write_full_resolution(path: Path, answer: Answer, bundle: Bundle) -> str:
    """Write the photo with the change applied, read the file again, and check whether it is still valid.

    Args:
        path: file to write.
        answer: an answer for which `has_larger_photo` is true.
        bundle: holds the classifier.

    Returns:
        A note that says whether the photo is valid.
    """
    source, images = answer.question.source, answer.pictures
    assert source.photo is not None and source.placement is not None
    change = (images.counterfactual - images.factual).cpu()
    within = answer.question.within
    photo = None if within is None else within.in_photo(source.placement)
    how = {
        "within": photo,
        "light_on_dark": bundle.light_on_dark,
        "scale": source.scale or bundle.scale,
        "ground": bundle.ground,
    }
    write_picture(path, carry_back(source.photo, change, source.placement, **how))
    again = bundle.read(path).pixels
    probabilities = probabilities_of(bundle.classifier, again[None].to(bundle.device))[0]
    target = class_index(answer.target, bundle.classes)
    assert target is not None
    sure = float(probabilities[target])
    held = is_valid(int(probabilities.argmax()) == target, sure, answer.threshold)
    size = "x".join(str(side) for side in source.placement.size)
    says = "still valid" if held else "no longer valid"
    return f"files.full: at the photo's own {size} pixels it is {says}: {100 * sure:.1f} % {answer.target}"
