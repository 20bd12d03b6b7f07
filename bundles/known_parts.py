"""Every part that a bundle may have, and what its model may be: the list by which parts are loaded."""

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
        what: it is, in a few words.
        homes: "room.module:Class" of each network that it may be made of. Nothing else is ever imported on a bundle's
            word.
        judge: whether it only scores, so that no engine may see it.
    """

    name: str
    what: str
    homes: tuple[str, ...]
    judge: bool = False


KNOWN_PARTS = (
    KnownPart("classifier", "the classifier that is explained", ("classifiers.convolutional:ConvNet",)),
    KnownPart("judge", "an independent classifier that only scores", ("judges.residual:ResidualNet",), judge=True),
    KnownPart(
        "second_judge",
        "another one, of another kind",
        ("judges.transformer:PatchTransformer", "classifiers.convolutional:ConvNet"),
        judge=True,
    ),
    KnownPart(
        "retrained",
        "the classifier trained again with other seeds, for robustness",
        ("judges.retrained:Retrained",),
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
    KnownPart(
        "autoencoders",
        "one autoencoder a class and one for all, for IM1 and IM2",
        ("judges.autoencoders:ClassAutoencoders",),
        judge=True,
    ),
    KnownPart(
        "reference",
        "features of real images in the judge, for the realism percentile",
        ("judges.real_images:RealImages",),
        judge=True,
    ),
)
"""In the order in which bundle.toml lists them."""

BY_NAME = {part.name: part for part in KNOWN_PARTS}
JUDGES = frozenset(part.name for part in KNOWN_PARTS if part.judge)
"""The names that no engine may ask for."""

_HOMES = {home.partition(":")[2]: home for part in KNOWN_PARTS for home in part.homes}


def place_of(name: str) -> int:
    """Where a part stands in bundle.toml; one that this version does not know, at the end."""
    return list(BY_NAME).index(name) if name in BY_NAME else len(BY_NAME)


def build(architecture: str, arguments: Mapping[str, object]) -> nn.Module:
    """An untrained model of a known architecture.

    Args:
        architecture: the name of a class in `KNOWN_PARTS`.
        arguments: of its constructor.

    Raises:
        BundleError: the architecture is unknown, or does not take these arguments.
    """
    if architecture not in _HOMES:
        raise BundleError(str(unknown_name("architecture", architecture, _HOMES)))
    module, _, name = _HOMES[architecture].partition(":")
    made = getattr(import_module(f"cfx.{module}"), name)
    try:
        return made(**arguments)
    except TypeError as error:
        raise BundleError(f"architecture {architecture}: {error}") from error
