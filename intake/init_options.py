"""The settings of `cfx init` and of a classifier without a bundle, which are parsed before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions:
    """The user's settings for a classifier; None means that cfx finds the value.

    Attributes:
        classes: names of the classifier's classes in the order of the logits, or a file of them; the file `imagenet`,
            if there is none of that name, stands for the classes of ImageNet.
        preprocessing: fields of `Preprocessing`.
        label: which label of a multi-label classifier is meant, by name or index.
        among: restrict the probabilities to the classes of the labelled images.
        size: (H, W) of the images.
        resize: "pad", "crop" or "stretch"; the option --fit.
        window: values of black and white in images with more than 8 bits per channel.
        root: the directory of torchvision's data sets.
        flip: whether left and right do not matter to the class.
    """

    classes: Path | tuple[str, ...] | None = None
    preprocessing: Mapping[str, object] = field(default_factory=dict)
    label: str | None = None
    among: bool = False
    size: tuple[int, int] | None = None
    resize: str | None = None
    window: tuple[float, float] | None = None
    root: Path | None = None
    flip: bool = False


@dataclass(frozen=True, kw_only=True)
class InitOptions(ClassifierOptions):
    """The user's settings for a classifier and images; None means that cfx finds the value.

    Attributes:
        images: as in `open_images`.
        classifier: as in `open_classifier`; None to have cfx train one.
        weights: a file of weights, for a classifier that is code.
        working: pixels of the longer side at the working resolution.
        group: regular expression that finds an image's group, such as a person, in its path.
        overwrite: replace a bundle in the directory, keeping the parts that are still right.
        skip_unreadable: whether any number of images that cannot be read is left out, instead of up to 1 %.
    """

    images: str
    classifier: str | None = None
    weights: Path | None = None
    working: int | None = None
    group: str | None = None
    overwrite: bool = False
    skip_unreadable: bool = False
