"""The settings of `cfx init`, which are parsed before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class InitOptions:
    """The user's settings for a classifier and images; None means that cfx finds the value.

    Attributes:
        images: as in `open_images`.
        classifier: as in `open_classifier`; None to have cfx train one.
        weights: a file of weights, for a classifier that is code.
        classes: a file of class names in the order of the logits.
        root: the directory of torchvision's data sets.
        preprocessing: fields of `Preprocessing`.
        size: (H, W) of the images.
        working: pixels of the longer side at the working resolution.
        resize: "pad", "crop" or "stretch"; the option --fit.
        flip: whether left and right do not matter to the class.
        group: regular expression that finds an image's group, such as a person, in its path.
        window: values of black and white in images with more than 8 bits per channel.
        skip_unreadable: whether any number of images that cannot be read is left out, instead of up to 1 %.
    """

    images: str
    classifier: str | None = None
    weights: Path | None = None
    classes: Path | None = None
    root: Path | None = None
    preprocessing: Mapping[str, object] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    working: int | None = None
    resize: str | None = None
    flip: bool = False
    group: str | None = None
    window: tuple[float, float] | None = None
    skip_unreadable: bool = False
