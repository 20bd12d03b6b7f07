"""Styles: how far answers go beyond what the classifier needs."""

from __future__ import annotations

from typing import Literal, cast

from ..bundles.bundle import Bundle
from ..counterfactuals.search.typical import Typical
from ..errors import UsageError, unknown_name
from ..generative.donors import DonorSource

Style = Literal["minimal", "human"]
STYLES: tuple[Style, ...] = ("minimal", "human")
PERCENTILE = 75.0  # of the distances among the training images of a class


def typical_of(bundle: Bundle, style: str) -> Typical | None:
    """What answers of a style must be besides valid; None: nothing.

    Raises:
        UsageError: there is no such style, or the bundle has no training images to compare with.
    """
    if style not in STYLES:
        raise unknown_name("style", style, STYLES)
    if style == "minimal":
        return None
    if not bundle.has("donors"):
        made = (
            "give --images DIR" if bundle.is_standalone else f"`cfx train {bundle.directory} --only donors` makes them"
        )
        raise UsageError(f"style human: needs training images of the target to compare with; {made}")
    return Typical(cast(DonorSource, bundle.part("donors")), PERCENTILE)
