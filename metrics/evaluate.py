"""Every metric of a batch of counterfactuals, or of a whole set, with the reason where one cannot be had."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..counterfactuals.engine import Counterfactuals
from ..errors import BundleError
from .catalogue import METRICS, Metric
from .scene import Missing, Scene, SetScene

Value = float | bool | None
"""One image's value of a metric; None where it could not be had."""


LPIPS = "lpips"
"""The metric that takes seconds to load, and is computed only where it is asked for."""


@dataclass(frozen=True)
class Scores:
    """One column a metric, one row an image.

    Attributes:
        count: N.
        columns: name -> (N,), or None where the metric could not be had.
        missing: why, for each None.
    """

    count: int
    columns: dict[str, Tensor | None]
    missing: dict[str, str]

    @property
    def notes(self) -> tuple[str, ...]:
        """The reasons as sentences, metrics of the same reason together."""
        names: dict[str, list[str]] = {}
        for name, why in self.missing.items():
            names.setdefault(why, []).append(name)
        return tuple(f"{', '.join(some)}: {why}" for why, some in names.items())

    def rows(self) -> list[dict[str, Value]]:
        """The same, as one dictionary per image; what is not a finite number is None."""
        values = {name: None if c is None else [finite(v) for v in c.tolist()] for name, c in self.columns.items()}
        return [{name: None if v is None else v[row] for name, v in values.items()} for row in range(self.count)]


def finite(value: float | bool) -> Value:
    """The value, or None where it is NaN or infinite."""
    return value if math.isfinite(value) else None


def with_lpips() -> frozenset[str]:
    """The names of all metrics of single images, LPIPS among them."""
    return frozenset(metric.name for metric in METRICS if metric.function is not None and not metric.of_set)


def load_scoring(bundle: Bundle) -> None:
    """Load all judges: a damaged one is an error before the search, not a missing number after it.

    Raises:
        BundleError: a part is damaged.
    """
    for name in bundle.judges.names():
        bundle.judges.part(name)


@torch.inference_mode()
def evaluate(bundle: Bundle, images: Tensor, targets: Tensor, found: Counterfactuals, *, lpips: bool = False) -> Scores:
    """Score counterfactuals with the bundle's judges, which no engine sees.

    Args:
        bundle: brings the classifier and the judges.
        images: (N, C, H, W) in [0, 1], the factuals.
        targets: (N,) int64.
        found: what an engine returned for them.
        lpips: also compute LPIPS, whose import takes seconds.

    Returns:
        A column for each metric of a single image in `catalogue.METRICS`, but for validity, confidence and cost, which
        are the engine's own; docs/metrics.md describes them.
    """
    return score(Scene.of(bundle, images, found.images, targets), with_lpips() if lpips else None)


@torch.inference_mode()
def score(scene: Scene, names: frozenset[str] | None = None) -> Scores:
    """Metrics of single images.

    Args:
        scene: the answers.
        names: which metrics; None: every one but LPIPS, whose missing value says that it was not asked for.
    """
    columns: dict[str, Tensor | None] = {}
    missing: dict[str, str] = {}
    for metric in METRICS:
        if metric.function is None or metric.of_set or (names is not None and metric.name not in names):
            continue
        if names is None and metric.name == LPIPS:
            columns[LPIPS], missing[LPIPS] = None, "not asked for (--lpips)"
            continue
        try:
            columns[metric.name] = function_of(metric)(scene)
        except (Missing, BundleError) as error:
            columns[metric.name] = None
            missing[metric.name] = str(error)
    return Scores(len(scene.targets), columns, missing)


@torch.inference_mode()
def score_set(scene: SetScene) -> tuple[dict[str, float | None], dict[str, str]]:
    """Every metric of whole sets: the values, and why one is missing."""
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
    """The function that computes a metric, imported when it is first asked for."""
    assert metric.function is not None
    module, _, name = metric.function.partition(":")
    return getattr(import_module(f".{module}", __package__), name)
