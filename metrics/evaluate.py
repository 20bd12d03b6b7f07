"""Every metric of a batch of counterfactuals at once, with a note for each that could not be had."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..counterfactuals.engine import Counterfactuals
from ..errors import BundleError
from ..judges.autoencoders import ClassAutoencoders
from ..judges.real_images import RealImages
from ..judges.residual import ResidualNet
from . import proximity, realism
from .robustness import robust_noise, robust_retrained
from .transition import cout


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


JUDGES = ("judge", "second_judge")
"""The bundle's classifiers that only score, of differing architecture; the first lends its features."""


def load_scoring(bundle: Bundle) -> None:
    """Load what the bundle has of them: a damaged judge is an error before the search, not a missing number after it.

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
    scoring = _Scoring(bundle, images, targets, found.images)
    for name in ("l0", "l1", "l2", "linf"):
        scoring.columns[name] = getattr(proximity, name)(images, found.images)
    scoring.lpips(wanted=lpips)
    scoring.autoencoders()
    scoring.judges()
    scoring.features()
    scoring.robustness()
    return Scores(scoring.columns, tuple(scoring.notes))


class _Scoring:
    """The columns as they come, and a note for each that the bundle has no model for."""

    def __init__(self, bundle: Bundle, images: Tensor, targets: Tensor, results: Tensor) -> None:
        self.bundle = bundle
        self.parts = bundle.judges
        self.images = images
        self.targets = targets
        self.results = results
        self.small = bundle.shrink(results)  # as judges take them
        self.factual_classes = bundle.classifier(images).argmax(dim=1)
        self.columns: dict[str, Tensor | None] = {}
        self.notes: list[str] = []

    def missing(self, why: object, *names: str) -> None:
        self.notes.append(f"{', '.join(names)}: {why}")
        self.columns.update(dict.fromkeys(names))

    def lpips(self, wanted: bool) -> None:
        if not wanted:
            return self.missing("not asked for (--lpips)", "lpips")
        from .perceptual import load_lpips, lpips_distance

        try:
            metric = load_lpips(self.images.device)
        except BundleError as error:
            return self.missing(error, "lpips")
        self.columns["lpips"] = lpips_distance(metric, self.images, self.results)

    def autoencoders(self) -> None:
        try:
            autoencoders = self.parts.part("autoencoders", ClassAutoencoders)
        except BundleError as error:
            return self.missing(error, "im1", "im2")
        im1 = realism.im1(autoencoders, self.small, self.factual_classes, self.targets)
        # Of a class without images there is an autoencoder that has seen none.
        known = torch.isin(self.factual_classes, torch.tensor(self.bundle.present, device=im1.device))
        self.columns["im1"] = im1.where(known, torch.nan)
        if not bool(known.all()):
            self.notes.append("im1: the model sees a class in some images that the bundle was trained without")
        self.columns["im2"] = realism.im2(autoencoders, self.small, self.targets)

    def judges(self) -> None:
        try:
            judges = [self.parts.part(name) for name in JUDGES if name == JUDGES[0] or self.parts.has(name)]
        except BundleError as error:
            return self.missing(error, "judge_agrees", "judge_confidence")
        probabilities = torch.stack([judge(self.small).softmax(dim=1) for judge in judges]).mean(dim=0)
        self.columns["judge_agrees"] = probabilities.argmax(dim=1) == self.targets
        self.columns["judge_confidence"] = probabilities.gather(1, self.targets[:, None]).squeeze(1)

    def features(self) -> None:
        try:
            judge = self.parts.part("judge", ResidualNet)
            reference = self.parts.part("reference", RealImages)
        except BundleError as error:
            return self.missing(error, "realism_percentile", "looks_real", "knn_agreement")
        percentile = realism.realism_percentile(judge, reference, self.small, self.targets)
        self.columns["realism_percentile"] = percentile
        self.columns["looks_real"] = realism.looks_real(percentile)
        self.columns["knn_agreement"] = realism.knn_agreement(judge, reference, self.small, self.targets)

    def robustness(self) -> None:
        classifier = self.bundle.classifier
        self.columns["cout"] = cout(classifier, self.images, self.results, self.factual_classes, self.targets)
        self.columns["robust_noise"] = robust_noise(classifier, self.results, self.targets)
        try:
            retrained = self.parts.part("retrained")
        except BundleError as error:
            return self.missing(error, "robust_retrained")
        self.columns["robust_retrained"] = robust_retrained(retrained, self.small, self.targets)
