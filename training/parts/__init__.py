"""The parts of a bundle in the order in which they are made; one file a part."""

from __future__ import annotations

from ..part import Part
from ..recipe import Recipe
from .anchors import AnchorsPart
from .autoencoders import AutoencodersPart
from .classifier import ClassifierPart
from .conditional_vae import ConditionalVAEPart
from .flow import FlowPart
from .joint import JointPart
from .judge import JudgePart
from .reference import ReferencePart
from .retrained import RetrainedPart
from .second_judge import SecondJudgePart
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
)
"""In the order of their making: what a part needs stands before it."""


def parts_of(recipe: Recipe, *, joint: bool = False) -> list[Part]:
    """Every part as a recipe sets it.

    Args:
        recipe: sets fields of parts by their first name.
        joint: put one part that trains classifier and conditional VAE in one loss in the place of the latter.
    """
    parts = [kind(**recipe.parts.get(kind.makes[0], {})) for kind in PARTS]
    return together(parts) if joint else parts


def together(parts: list[Part]) -> list[Part]:
    """The parts with classifier and conditional VAE as one, made as soon as what measures it is there."""
    classifier = next(part for part in parts if isinstance(part, ClassifierPart))
    conditional_vae = next(part for part in parts if isinstance(part, ConditionalVAEPart))
    joint = JointPart(classifier=classifier, conditional_vae=conditional_vae)
    rest = [part for part in parts if part not in (classifier, conditional_vae)]
    place = 1 + max(number for number, part in enumerate(rest) if not {*part.makes}.isdisjoint(joint.needs))
    return [*rest[:place], joint, *rest[place:]]


def wanted_parts() -> tuple[str, ...]:
    """The names of the parts that a new bundle wants."""
    return tuple(name for kind in PARTS for name in kind.makes if not kind.optional)
