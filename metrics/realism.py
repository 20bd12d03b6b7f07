"""Whether a counterfactual looks like a real image of the target class, to models that no engine uses."""

from __future__ import annotations

import torch
from torch import Tensor

from .scene import Scene

REAL_SHARE = 95.0  # per cent of real images that count as the range of real images
NEIGHBOURS = 5  # as CARLA's yNN
EPSILON = 1e-6


def judge_agrees(scene: Scene) -> Tensor:
    """Whether the judges, too, give the target the highest probability, the mean of theirs: (N,) bool.

    After the oracle score of Hvilshøj et al. 2021, arXiv 2111.00177.
    """
    return scene.judges_probabilities.argmax(dim=1) == scene.targets


def judge_confidence(scene: Scene) -> Tensor:
    """The judges' mean probability of the target, (N,), in [0, 1]; higher is better."""
    return scene.judges_probabilities.gather(1, scene.targets[:, None]).squeeze(1)


def im1(scene: Scene) -> Tensor:
    """||x' - AE_target(x')||^2 / (||x' - AE_factual(x')||^2 + eps), in [0, inf); lower is better.

    Below 1 the counterfactual (N, C, H, W) is nearer to the target's manifold than to the factual class's. It is NaN
    where the autoencoders have seen no images of the factual's class.
    Van Looveren and Klaise 2019, arXiv 1907.02584, eq. 8. Adversarial noise can lower it: both errors grow.
    """
    to_target = scene.judged - scene.to_own
    to_factual = scene.judged - scene.autoencoders.reconstruct(scene.judged, scene.factual_classes)
    ratio = to_target.square().sum(dim=(1, 2, 3)) / (to_factual.square().sum(dim=(1, 2, 3)) + EPSILON)
    if scene.present is None:
        return ratio
    known = torch.isin(scene.factual_classes, torch.tensor(list(scene.present), device=ratio.device))
    return ratio.where(known, torch.nan)


def im2(scene: Scene) -> Tensor:
    """||AE_target(x') - AE_all(x')||^2 / (||x'||_1 + eps), in [0, inf); lower is better.

    Van Looveren and Klaise 2019, arXiv 1907.02584, eq. 9. Images are in [0, 1]; other ranges scale it.
    """
    difference = scene.to_own - scene.autoencoders.of_all(scene.judged)
    return difference.square().sum(dim=(1, 2, 3)) / (scene.judged.abs().sum(dim=(1, 2, 3)) + EPSILON)


def realism_percentile(scene: Scene) -> Tensor:
    """Share of real test images of the target class at least as far from the class, in [0, 100].

    Distance is that to the nearest real images of the class in the judge's features. A counterfactual as
    typical as the median real image gets 50, one farther out than every real image gets 0.
    """
    return scene.percentile


def looks_real(scene: Scene) -> Tensor:
    """Whether the realism percentile lies in the range of 95 % of real images: (N,) bool."""
    return scene.percentile >= 100 - REAL_SHARE


def knn_agreement(scene: Scene, neighbours: int = NEIGHBOURS) -> Tensor:
    """Share of the nearest real training images, of all classes, whose label is the target: (N,) in [0, 1].

    1/k * #{i in kNN(x') : label_i = target}, nearest in the judge's features; higher is better. Unlike
    `realism_percentile` it compares classes with one another, and unlike `judge_agrees` it trusts the labels of real
    images, not the judge's last layer. After yNN of CARLA, Pawelczyk et al. 2021, arXiv 2108.00783, which asks the
    explained classifier for the neighbours' labels.
    """
    labels = scene.reference.nearest_labels(scene.features, neighbours)
    return (labels == scene.targets[:, None]).float().mean(dim=1)
