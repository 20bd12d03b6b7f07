"""Computes the metrics of a batch or of a whole set of counterfactuals, and gives a reason for each missing one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..classifiers.introspection.determinism import deterministic
from ..counterfactuals.engine import Counterfactuals
from ..errors import BundleError
from .catalogue import BY_NAME, METRICS, OF_IMAGES, STROKES, Metric
from .scene import Missing, Scene, SetScene

Value = float | bool | None
"""The value of a metric for one image; None if it could not be computed."""

LPIPS = "lpips"
"""The metric that takes seconds to load, and so is computed only on request."""


@dataclass(frozen=True)
class Scores:
    """Metrics of a batch: one column per metric, one row per image.

    Attributes:
        count: number of images N.
        columns: metric name -> values (N,), or None if the metric could not be computed.
        missing: metric name -> reason, for each column that is None.
    """

    count: int
    columns: dict[str, Tensor | None]
    missing: dict[str, str]

    @property
    def notes(self) -> tuple[str, ...]:
        """The reasons as text, one note for all metrics with the same reason."""
        return tuple(in_sentences(self.missing.items()))

    def rows(self) -> list[dict[str, Value]]:
        """The values as one dictionary per image; values that are not finite become None."""
        values = {name: None if c is None else [finite(v) for v in c.tolist()] for name, c in self.columns.items()}
        return [{name: None if v is None else v[row] for name, v in values.items()} for row in range(self.count)]


def in_sentences(missing: Iterable[tuple[str, str]]) -> list[str]:
    """Sentences that say why metrics have no value, from pairs of metric and reason; one sentence per reason."""
    names: dict[str, dict[str, None]] = {}
    for name, why in missing:
        names.setdefault(why, {})[name] = None
    return [f"{', '.join(metrics)}: {why}" for why, metrics in names.items()]


def finite(value: float | bool) -> Value:
    """The value, or None if it is NaN or infinite."""
    return value if math.isfinite(value) else None


def requested(*, lpips: bool, strokes: bool = False) -> frozenset[str]:
    """The names of the metrics that are computed on request, of those that are asked for."""
    return frozenset([LPIPS] if lpips else []) | (STROKES if strokes else frozenset())


def load_scoring(bundle: Bundle) -> None:
    """Loads all judges, so that a damaged one is an error before the search and not a missing value after it.

    Raises:
        BundleError: a part is damaged.
    """
    for name in bundle.judges.names():
        bundle.judges.part(name)


@torch.inference_mode()
def evaluate(bundle: Bundle, images: Tensor, targets: Tensor, found: Counterfactuals, *, lpips: bool = False) -> Scores:
    """Scores counterfactuals with the bundle's judges, which no engine uses.

    Args:
        bundle: provides the classifier and the judges.
        images: (N, C, H, W) in [0, 1], the factuals.
        targets: (N,) int64.
        found: what an engine returned for them.
        lpips: also compute LPIPS, which takes seconds to import.

    Returns:
        A column for each metric of single images in `catalogue.METRICS`, except validity, confidence and cost, which
        the engine returns, and those that are computed on request. docs/metrics.md defines them.
    """
    return score(Scene.of(bundle, images, found.images, targets), also=requested(lpips=lpips))


@torch.inference_mode()
def score(scene: Scene, names: frozenset[str] | None = None, also: frozenset[str] = frozenset()) -> Scores:
    """Computes the metrics of single images.

    Args:
        scene: the counterfactuals to score.
        names: which metrics; None: all but those that are computed on request, of which LPIPS is then listed as
            missing because it was not requested.
        also: without `names`, which of those that are computed on request.
    """
    columns: dict[str, Tensor | None] = {}
    missing: dict[str, str] = {}
    for name in OF_IMAGES:
        wanted = name in also or not BY_NAME[name].on_request if names is None else name in names
        if not wanted:
            continue
        if names is None and name == LPIPS and name not in also:
            columns[LPIPS], missing[LPIPS] = None, "not asked for (--lpips)"
            continue
        try:
            with deterministic(scene.counterfactuals.device):
                columns[name] = function_of(BY_NAME[name])(scene)
        except (Missing, BundleError) as error:
            columns[name] = None
            missing[name] = str(error)
    return Scores(len(scene.targets), columns, missing)


@torch.inference_mode()
def score_set(scene: SetScene) -> tuple[dict[str, float | None], dict[str, str]]:
    """Computes the metrics of whole sets; returns the values, and the reason for each missing one."""
    values: dict[str, float | None] = {}
    missing: dict[str, str] = {}
    for metric in METRICS:
        if metric.function is None or not metric.of_set:
            continue
        try:
            values[metric.name] = function_of(metric)(scene)
        except (Missing, BundleError) as error:
            values[metric.name] = None
            missing[metric.name] = str(error)
    return values, missing


def function_of(metric: Metric) -> Callable[..., Any]:
    """The function that computes a metric, imported on first use."""
    assert metric.function is not None
    module, _, name = metric.function.partition(":")
    return getattr(import_module(f".{module}", __package__), name)
