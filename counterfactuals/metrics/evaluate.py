"""Every metric of a batch of counterfactuals at once, with a note for each that could not be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from ...bundles.bundle import Bundle
from ...classifiers.convolutional import ResidualNet
from ...classifiers.real_images import RealImages
from ...data.errors import BundleError
from ...generative.autoencoders import ClassAutoencoders
from ..engine import Counterfactuals
from . import proximity, realism


@dataclass(frozen=True)
class Scores:
    """One column a metric, one row an image.

    Attributes:
        columns: name -> (N,), or None where the metric could not be had.
        notes: one sentence for each None.
    """

    columns: dict[str, Tensor | None]
    notes: tuple[str, ...]

    def rows(self) -> list[dict[str, float | bool | None]]:
        """The same, as one dictionary per image."""
        values = {name: None if c is None else c.tolist() for name, c in self.columns.items()}
        count = max(len(v) for v in values.values() if v is not None)
        return [{name: None if v is None else v[row] for name, v in values.items()} for row in range(count)]


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
        Columns l0, l1, l2, linf, lpips, im1, im2, realism_percentile, looks_real, judge_agrees,
        judge_confidence.
    """
    results = found.images
    columns: dict[str, Tensor | None] = {
        name: getattr(proximity, name)(images, results) for name in ("l0", "l1", "l2", "linf")
    }
    notes: list[str] = []

    def missing(error: BundleError, *names: str) -> None:
        notes.append(f"{', '.join(names)}: {error}")
        columns.update(dict.fromkeys(names))

    if lpips:
        from .perceptual import load_lpips, lpips_distance

        try:
            columns["lpips"] = lpips_distance(load_lpips(images.device), images, results)
        except BundleError as error:
            missing(error, "lpips")
    else:
        notes.append("lpips: not asked for (--lpips)")
        columns["lpips"] = None
    try:
        autoencoders = cast(ClassAutoencoders, bundle.part("autoencoders"))
        factual_classes = bundle.classifier(images).argmax(dim=1)
        columns["im1"] = realism.im1(autoencoders, results, factual_classes, targets)
        columns["im2"] = realism.im2(autoencoders, results, targets)
    except BundleError as error:
        missing(error, "im1", "im2")
    try:
        judge = cast(ResidualNet, bundle.part("judge"))
        probabilities = judge(results).softmax(dim=1)
        columns["judge_agrees"] = probabilities.argmax(dim=1) == targets
        columns["judge_confidence"] = probabilities.gather(1, targets[:, None]).squeeze(1)
        try:
            reference = cast(RealImages, bundle.part("reference"))
            percentile = realism.realism_percentile(judge, reference, results, targets)
            columns["realism_percentile"] = percentile
            columns["looks_real"] = realism.looks_real(percentile)
        except BundleError as error:
            missing(error, "realism_percentile", "looks_real")
    except BundleError as error:
        missing(error, "judge_agrees", "judge_confidence", "realism_percentile", "looks_real")
    return Scores(columns, tuple(notes))
