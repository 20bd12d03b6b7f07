"""Whether a counterfactual looks like a real image of the target class, to models that no engine uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from ..judges.autoencoders import ClassAutoencoders
    from ..judges.real_images import RealImages
    from ..judges.residual import ResidualNet

REAL_SHARE = 95.0  # per cent of real images that count as the range of real images
NEIGHBOURS = 5  # as CARLA's yNN
EPSILON = 1e-6


def im1(autoencoders: ClassAutoencoders, counterfactuals: Tensor, factual_classes: Tensor, targets: Tensor) -> Tensor:
    """||x' - AE_target(x')||^2 / (||x' - AE_factual(x')||^2 + eps), in [0, inf); lower is better.

    Below 1 the counterfactual (N, C, H, W) is nearer to the target's manifold than to the factual class's.
    Van Looveren and Klaise 2019, arXiv 1907.02584, eq. 8. Adversarial noise can lower it: both errors grow.
    """
    to_target = counterfactuals - autoencoders.reconstruct(counterfactuals, targets)
    to_factual = counterfactuals - autoencoders.reconstruct(counterfactuals, factual_classes)
    return to_target.square().sum(dim=(1, 2, 3)) / (to_factual.square().sum(dim=(1, 2, 3)) + EPSILON)


def im2(autoencoders: ClassAutoencoders, counterfactuals: Tensor, targets: Tensor) -> Tensor:
    """||AE_target(x') - AE_all(x')||^2 / (||x'||_1 + eps), in [0, inf); lower is better.

    Van Looveren and Klaise 2019, arXiv 1907.02584, eq. 9. Images are in [0, 1]; other ranges scale it.
    """
    difference = autoencoders.reconstruct(counterfactuals, targets) - autoencoders.of_all(counterfactuals)
    return difference.square().sum(dim=(1, 2, 3)) / (counterfactuals.abs().sum(dim=(1, 2, 3)) + EPSILON)


def realism_percentile(judge: ResidualNet, reference: RealImages, counterfactuals: Tensor, targets: Tensor) -> Tensor:
    """Share of real test images of the target class at least as far from the class, in [0, 100]; higher is better.

    Distance is that to the nearest real images of the class in the judge's features. A counterfactual as
    typical as the median real image gets 50, one farther out than every real image gets 0.
    """
    return reference.percentile(judge.embed(counterfactuals), targets)


def looks_real(percentile: Tensor) -> Tensor:
    """Whether a realism percentile (N,) lies in the range of 95 % of real images: (N,) bool."""
    return percentile >= 100 - REAL_SHARE


def knn_agreement(
    judge: ResidualNet, reference: RealImages, counterfactuals: Tensor, targets: Tensor, neighbours: int = NEIGHBOURS
) -> Tensor:
    """Share of the nearest real training images, of all classes, whose label is the target: (N,) in [0, 1].

    1/k * #{i in kNN(x') : label_i = target}, nearest in the judge's features; higher is better. Unlike
    `realism_percentile` it compares classes with one another, and unlike `judge_agrees` it trusts the labels of real
    images, not the judge's last layer. After yNN of CARLA, Pawelczyk et al. 2021, arXiv 2108.00783, which asks the
    explained classifier for the neighbours' labels.
    """
    labels = reference.nearest_labels(judge.embed(counterfactuals), neighbours)
    return (labels == targets[:, None]).float().mean(dim=1)
