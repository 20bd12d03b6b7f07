"""The parts of a bundle in the order in which they are made; one file per part."""

from __future__ import annotations

from ...bundles.file import BundleFile
from ..part import Part
from ..recipe import Recipe
from .anchors import AnchorsPart
from .autoencoders import AutoencodersPart
from .classifier import ClassifierPart
from .conditional_vae import ConditionalVAEPart
from .donors import DonorsPart
from .ensemble import EnsemblePart
from .flow import FlowPart
from .glam import GlamPart
from .joint import JointPart
from .judge import JudgePart
from .matching import MatchingPart
from .referee import RefereePart
from .reference import ReferencePart
from .retrained import RetrainedPart
from .robust_classifier import RobustClassifierPart
from .second_judge import SecondJudgePart
from .spectral_classifier import SpectralClassifierPart
from .vae import VAEPart

PARTS: tuple[type[Part], ...] = (
    ClassifierPart,
    JudgePart,
    SecondJudgePart,
    RetrainedPart,
    VAEPart,
    AnchorsPart,
    ConditionalVAEPart,
    FlowPart,
    AutoencodersPart,
    ReferencePart,
    DonorsPart,
    MatchingPart,
    RefereePart,
    RobustClassifierPart,
    SpectralClassifierPart,
    EnsemblePart,
    GlamPart,
)
"""In the order in which they are made: a part comes after the parts that it needs."""


def parts_of(recipe: Recipe, *, joint: bool = False) -> list[Part]:
    """All parts, with their fields set by a recipe.

    Args:
        recipe: sets the fields of a part by the first of its names.
        joint: train classifier and conditional VAE as one part, in one loss.
    """
    parts = [kind(**recipe.parts.get(kind.makes[0], {})) for kind in PARTS]
    return together(parts) if joint else parts


def together(parts: list[Part]) -> list[Part]:
    """Merge classifier and conditional VAE into one part, made right after the parts that it needs."""
    classifier = next(part for part in parts if isinstance(part, ClassifierPart))
    conditional_vae = next(part for part in parts if isinstance(part, ConditionalVAEPart))
    joint = JointPart(classifier=classifier, conditional_vae=conditional_vae)
    rest = [part for part in parts if part not in (classifier, conditional_vae)]
    place = 1 + max(number for number, part in enumerate(rest) if not {*part.makes}.isdisjoint(joint.needs))
    return [*rest[:place], joint, *rest[place:]]


def wanted_parts() -> tuple[str, ...]:
    """The names of the parts that a new bundle wants."""
    return tuple(name for kind in PARTS for name in kind.makes if kind.by_default or not kind.optional)


def wanted_by(file: BundleFile) -> tuple[str, ...]:
    """The names of the parts that a bundle wants; those that none is complete without, if it does not say."""
    return file.wanted or tuple(name for kind in PARTS for name in kind.makes if not kind.optional)
