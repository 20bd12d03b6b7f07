"""The list of parts that a bundle may have, with the classes of their models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from torch import nn

from ..errors import BundleError, unknown_name


@dataclass(frozen=True)
class KnownPart:
    """A part that a bundle may have.

    Attributes:
        name: in bundle.toml.
        what: a short description.
        homes: "room.module:Class" of each possible class of its model. No other class is ever imported for a bundle.
        judge: whether it only scores; engines may not use it.
        explains: whether it is a classifier that can be explained.
    """

    name: str
    what: str
    homes: tuple[str, ...]
    judge: bool = False
    explains: bool = False


KNOWN_PARTS = (
    KnownPart("classifier", "the classifier that is explained", ("classifiers.convolutional:ConvNet",), explains=True),
    KnownPart("judge", "an independent classifier that only scores", ("judges.residual:ResidualNet",), judge=True),
    KnownPart(
        "second_judge",
        "a second independent classifier, of another architecture",
        ("judges.transformer:PatchTransformer", "classifiers.convolutional:ConvNet"),
        judge=True,
    ),
    KnownPart(
        "retrained",
        "narrower classifiers trained on the images of the explained one with other seeds, for robustness",
        ("judges.retrained:Retrained",),
        judge=True,
    ),
    KnownPart(
        "referee",
        "a third independent classifier, by which nothing is ever chosen",
        ("judges.mixer:ConvMixer",),
        judge=True,
    ),
    KnownPart("vae", "variational autoencoder", ("generative.vae:VAE",)),
    KnownPart("anchors", "latents of real images in the VAE", ("generative.anchors:LatentAnchors",)),
    KnownPart(
        "conditional_vae",
        "VAE with class-free latents, conditioned on class probabilities",
        ("generative.conditional_vae:ConditionalVAE",),
    ),
    KnownPart("flow", "normalizing flow", ("generative.flow:ImageFlow",)),
    KnownPart("matching", "velocity field between images and noise", ("generative.velocity:VelocityField",)),
    KnownPart(
        "robust_classifier",
        "a classifier that small changes do not fool",
        ("classifiers.convolutional:ConvNet",),
        explains=True,
    ),
    KnownPart(
        "spectral_classifier",
        "a classifier whose features keep distances, for which deduce was made",
        ("classifiers.spectral:SpectralNet",),
        explains=True,
    ),
    KnownPart(
        "ensemble", "the classifier trained again with other seeds, for uncertainty", ("classifiers.ensemble:Ensemble",)
    ),
    KnownPart(
        "glam",
        "translations from unsure to sure images, in the VAE's latent space",
        ("generative.translations:LatentTranslations",),
    ),
    KnownPart("donors", "real images of each class, from which swap takes cells", ("generative.donors:Donors",)),
    KnownPart(
        "autoencoders",
        "one autoencoder per class and one for all classes, for IM1 and IM2",
        ("judges.autoencoders:ClassAutoencoders",),
        judge=True,
    ),
    KnownPart(
        "reference",
        "features, sharpness and noise of real images, for the realism percentiles",
        ("judges.real_images:RealImages",),
        judge=True,
    ),
)
"""In the order in which bundle.toml lists them."""

BY_NAME = {part.name: part for part in KNOWN_PARTS}
JUDGES = frozenset(part.name for part in KNOWN_PARTS if part.judge)
"""The names of the parts that engines may not use."""
CLASSIFIERS = tuple(part.name for part in KNOWN_PARTS if part.explains)
"""The names of the parts that can be explained."""

_HOMES = {home.partition(":")[2]: home for part in KNOWN_PARTS for home in part.homes}


def place_of(name: str) -> int:
    """The position of a part in bundle.toml; parts that this version does not know come last."""
    return list(BY_NAME).index(name) if name in BY_NAME else len(BY_NAME)


def build(architecture: str, arguments: Mapping[str, object]) -> nn.Module:
    """Build an untrained model of a known architecture.

    Args:
        architecture: the name of a class in `KNOWN_PARTS`.
        arguments: of its constructor.

    Raises:
        BundleError: the architecture is unknown or does not accept these arguments.
    """
    if architecture not in _HOMES:
        raise BundleError(str(unknown_name("architecture", architecture, _HOMES)))
    module, _, name = _HOMES[architecture].partition(":")
    made = getattr(import_module(f"cfx.{module}"), name)
    try:
        return made(**arguments)
    except TypeError as error:
        raise BundleError(f"architecture {architecture}: {error}") from error
