"""The catalogue of metrics: their names, which direction is better, how they are printed, and what computes them.

Nothing here imports torch. A function is given as "module:name" within this package and imported on first use.
docs/metrics.md defines the metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .measure import Measure


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
        needs: what it needs besides the images: a part that is a judge, the LPIPS backbone, scikit-image,
            or a set.
        source: the publication that defines it.
        of_batch: whether an image's value is its share of the batch's, so that images are not independent samples.
        without: why a single image may have no value.
        on_request: whether it is computed only where it is asked for, because of its cost, and is otherwise in no
            record and in no table.
    """

    group: Group
    function: str | None = None
    needs: tuple[str, ...] = ()
    source: str = ""
    of_batch: bool = False
    without: str = "not a finite number"
    on_request: bool = False


def _stroke(measure: str, without: str = "") -> Metric:
    """The relative change of one measure of a drawing of strokes."""
    return Metric(
        f"stroke_{measure}",
        f"change of {measure}",
        "lower",
        "number",
        Group.STROKES,
        function=f"strokes:{measure}",
        needs=("scikit-image",),
        source="Castro et al. 2019, Morpho-MNIST, arXiv 1809.10780",
        without=f"the factual is no drawing of thin light strokes{without}, or the counterfactual is of one colour",
        on_request=True,
    )


METRICS = (
    Metric("validity", "valid", "higher", "share", Group.VALIDITY, yes_or_no=True),
    Metric("confidence", "confidence", None, "share", Group.VALIDITY),
    Metric(
        "fell_back",
        "fell back",
        None,
        "share",
        Group.VALIDITY,
        yes_or_no=True,
        without="the engine has nothing to fall back on",
    ),
    Metric(
        "judge_agrees",
        "judges agree",
        "higher",
        "share",
        Group.VALIDITY,
        function="realism:judge_agrees",
        needs=("judge",),
        source="Hvilshøj et al. 2021, arXiv 2111.00177",
        yes_or_no=True,
    ),
    Metric(
        "referee_agrees",
        "referee agrees",
        "higher",
        "share",
        Group.VALIDITY,
        function="realism:referee_agrees",
        needs=("referee",),
        yes_or_no=True,
    ),
    Metric(
        "judge_confidence",
        "judges' confidence",
        "higher",
        "share",
        Group.VALIDITY,
        function="realism:judge_confidence",
        needs=("judge",),
    ),
    Metric(
        "non_trivial",
        "judges see no change",
        None,
        "share",
        Group.VALIDITY,
        function="realism:non_trivial",
        needs=("judge",),
        source="Rodríguez et al. 2021, DiVE, arXiv 2103.10226",
        yes_or_no=True,
    ),
    Metric(
        "looks_real",
        "looks real",
        "higher",
        "share",
        Group.REALISM,
        function="realism:looks_real",
        needs=("judge", "reference"),
        yes_or_no=True,
    ),
    Metric(
        "realism_percentile",
        "realism percentile",
        None,
        "number",
        Group.REALISM,
        function="realism:realism_percentile",
        needs=("judge", "reference"),
    ),
    Metric(
        "class_percentile",
        "class percentile",
        None,
        "number",
        Group.REALISM,
        function="realism:class_percentile",
        needs=("judge", "reference"),
    ),
    Metric(
        "sharpness_percentile",
        "sharpness percentile",
        None,
        "number",
        Group.REALISM,
        function="realism:sharpness_percentile",
        needs=("reference",),
    ),
    Metric(
        "noise_percentile",
        "noise percentile",
        None,
        "number",
        Group.REALISM,
        function="realism:noise_percentile",
        needs=("reference",),
    ),
    Metric(
        "knn_agreement",
        "kNN agreement",
        "higher",
        "share",
        Group.REALISM,
        function="realism:knn_agreement",
        needs=("judge", "reference"),
        source="after yNN, Pawelczyk et al. 2021, arXiv 2108.00783",
    ),
    Metric(
        "im1",
        "IM1",
        "lower",
        "number",
        Group.REALISM,
        function="realism:im1",
        needs=("autoencoders",),
        source="Van Looveren and Klaise 2019, arXiv 1907.02584, eq. 8",
        without="the classifier sees a class in the factual that the bundle was trained without",
    ),
    Metric(
        "im2",
        "IM2",
        "lower",
        "number",
        Group.REALISM,
        function="realism:im2",
        needs=("autoencoders",),
        source="Van Looveren and Klaise 2019, arXiv 1907.02584, eq. 9",
    ),
    Metric(
        "frechet",
        "Fréchet joint",
        "lower",
        "number",
        Group.REALISM,
        function="sets:frechet",
        needs=("judge", "set"),
        source="Jeanneret et al. 2023, arXiv 2303.09962 (sFID)",
        of_set=True,
    ),
    Metric(
        "implausibility",
        "implausibility",
        "lower",
        "number",
        Group.REALISM,
        function="implausibility:implausibility",
        needs=("training images",),
        source="Altmeyer et al. 2024 (ECCCo), arXiv 2312.10648",
        on_request=True,
    ),
    Metric(
        "substitutability",
        "substitutability",
        "higher",
        "share",
        Group.REALISM,
        function="substitutability:substitutability",
        needs=("set", "labels"),
        source="Kenny and Keane 2021, arXiv 2009.06399 (R%-Sub)",
        of_set=True,
    ),
    Metric("l0", "pixels changed", "lower", "share", Group.DISTANCE, function="proximity:l0"),
    Metric("l1", "L1", "lower", "number", Group.DISTANCE, function="proximity:l1"),
    Metric("l2", "L2", "lower", "number", Group.DISTANCE, function="proximity:l2"),
    Metric("linf", "Linf", "lower", "number", Group.DISTANCE, function="proximity:linf"),
    Metric(
        "lpips",
        "LPIPS",
        "lower",
        "number",
        Group.DISTANCE,
        function="perceptual:lpips",
        needs=("LPIPS",),
        source="Zhang et al. 2018, arXiv 1801.03924",
    ),
    Metric(
        "answers_diversity",
        "diversity of answers",
        "higher",
        "number",
        Group.DISTANCE,
        source="Mothilal et al. 2020 (DiCE), arXiv 1905.07697, with the L1 distance",
        without="there is one answer to each question (--answers, --count)",
    ),
    Metric(
        "cout",
        "COUT",
        "higher",
        "number",
        Group.DISTANCE,
        function="transition:cout",
        source="Khorram and Fuxin 2022, arXiv 2203.15064",
    ),
    _stroke("area"),
    _stroke("thickness"),
    _stroke("length"),
    _stroke("slant", " or is upright"),
    _stroke("width"),
    _stroke("height"),
    Metric(
        "robust_noise",
        "holds under noise",
        "higher",
        "share",
        Group.ROBUSTNESS,
        function="robustness:robust_noise",
        source="Pawelczyk et al. 2023, arXiv 2203.06768",
    ),
    Metric(
        "robust_retrained",
        "holds when retrained",
        "higher",
        "share",
        Group.ROBUSTNESS,
        function="robustness:robust_retrained",
        needs=("retrained",),
        source="Black et al. 2022, arXiv 2110.03109",
    ),
    Metric(
        "diversity",
        "diversity",
        "higher",
        "number",
        Group.SET,
        function="sets:diversity",
        needs=("set",),
        source="Mothilal et al. 2020 (DiCE), arXiv 1905.07697",
        of_set=True,
    ),
    Metric("steps", "steps", "lower", "number", Group.COST),
    Metric("forward_calls", "forward calls", "lower", "number", Group.COST),
    Metric("backward_calls", "backward calls", "lower", "number", Group.COST),
    Metric("seconds", "seconds per image", "lower", "number", Group.COST, of_batch=True),
    Metric("images_per_second", "images per second", "higher", "number", Group.COST, of_set=True),
    Metric("peak_memory_mb", "peak memory, MB", "lower", "number", Group.COST, of_set=True),
)

BY_NAME = {metric.name: metric for metric in METRICS}
"""Metrics by name, in the order in which tables list them."""

OF_IMAGES = tuple(metric.name for metric in METRICS if metric.function is not None and not metric.of_set)
"""Names of the metrics that are computed for single images, from a `Scene`."""

IMPLAUSIBILITY = "implausibility"
"""The metric that needs the training images."""

STROKES = frozenset(metric.name for metric in METRICS if metric.group is Group.STROKES)
"""Names of the metrics of how far strokes keep their shape."""
