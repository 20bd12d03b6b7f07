"""What the catalogue says of one metric. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .measure import Measure

TRAINING = "training images"
"""What metrics need that compare counterfactuals with the images that the classifier was trained on."""


class Group(StrEnum):
    """What a metric measures; tables list groups in this order."""

    VALIDITY = "validity"
    REALISM = "realism"
    DISTANCE = "distance"
    STROKES = "strokes"
    ROBUSTNESS = "robustness"
    SET = "set"
    COST = "cost"


@dataclass(frozen=True)
class Metric(Measure):
    """One metric.

    Attributes:
        group: what it measures.
        function: "module:name" of the function that computes it from a `Scene`, or from a `SetScene` if `of_set`; None
            if the pipeline measures it.
        needs: what it needs besides the images: a part that is a judge, the LPIPS backbone, scikit-image, training
            images, or a set.
        source: the publication that defines it.
        of_batch: whether an image's value is its share of the batch's, so that images are not independent samples.
        without: why a single image may have no value.
        on_request: whether it is computed only if it is asked for by name, because it is slow or of use to few.
    """

    group: Group
    function: str | None = None
    needs: tuple[str, ...] = ()
    source: str = ""
    of_batch: bool = False
    without: str = "not a finite number"
    on_request: bool = False
