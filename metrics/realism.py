"""Whether a counterfactual looks like a real image of the target class, according to models that no engine uses."""

from __future__ import annotations

import torch
from torch import Tensor

from .ranges import CLASS, NOISE, REALISM, SHARPNESS
from .scene import Scene

NEIGHBOURS = 5  # as in CARLA's yNN
EPSILON = 1e-6


def judge_agrees(scene: Scene) -> Tensor:
    """Whether the target has the highest mean probability over the judges: (N,) bool.

    After the oracle score of Hvilshøj et al. 2021, arXiv 2111.00177.
    """
    return scene.judges_probabilities.argmax(dim=1) == scene.labels


def referee_agrees(scene: Scene) -> Tensor:
    """Whether the referee gives the target the highest probability: (N,) bool.

    The referee is a judge that nothing is ever chosen by: no engine, setting, trial or verdict.
    """
    return scene.judge("referee")(scene.judges_input).argmax(dim=1) == scene.labels


def judge_confidence(scene: Scene) -> Tensor:
    """The judges' mean probability of the target, (N,), in [0, 1]; higher is better."""
    return scene.judges_probabilities.gather(1, scene.labels[:, None]).squeeze(1)


def non_trivial(scene: Scene) -> Tensor:
    """Whether the judges still see the class that the classifier saw in the factual: (N,) bool.

    Where the classifier has changed its mind and nobody else has, the answer shows what only the classifier goes by: a
    bias, or adversarial noise. Rodríguez et al. 2021, DiVE, arXiv 2103.10226, section 4.3, with the judges as oracle.
    """
    return scene.judges_probabilities.argmax(dim=1) == scene.factual_labels


def im1(scene: Scene) -> Tensor:
    """||x' - AE_target(x')||^2 / (||x' - AE_factual(x')||^2 + eps), in [0, inf); lower is better.

    Below 1 the counterfactual is closer to the data manifold of the target class than to that of the factual's class.
    The value is NaN if the autoencoders were trained without images of the factual's class.
    Van Looveren and Klaise 2019, arXiv 1907.02584, eq. 8. Adversarial noise can lower it, because both errors grow.
    """
    to_target = scene.judges_input - scene.target_reconstruction
    to_factual = scene.judges_input - scene.autoencoders.reconstruct(scene.judges_input, scene.factual_labels)
    ratio = to_target.square().sum(dim=(1, 2, 3)) / (to_factual.square().sum(dim=(1, 2, 3)) + EPSILON)
    if scene.present is None:
        return ratio
    known = torch.isin(scene.factual_classes, torch.tensor(list(scene.present), device=ratio.device))
    return ratio.where(known, torch.nan)


def im2(scene: Scene) -> Tensor:
    """||AE_target(x') - AE_all(x')||^2 / (||x'||_1 + eps), in [0, inf); lower is better.

    Van Looveren and Klaise 2019, arXiv 1907.02584, eq. 9. Images are in [0, 1]; another range would scale the value.
    """
    difference = scene.target_reconstruction - scene.autoencoders.of_all(scene.judges_input)
    return difference.square().sum(dim=(1, 2, 3)) / (scene.judges_input.abs().sum(dim=(1, 2, 3)) + EPSILON)


def realism_percentile(scene: Scene) -> Tensor:
    """Percentage of real images of the target class that are at least as far from the class, in [0, 100].

    The distance is the mean distance to the nearest real images of the class in the judge's features. A
    counterfactual as typical as the median real image gets 50; one farther away than every real image gets 0.
    """
    return scene.percentile


def sharpness_percentile(scene: Scene) -> Tensor:
    """Percentage of real images of the target class with at most as much fine detail, in [0, 100].

    Fine detail is what blur takes away: the power of the finest octaves, given that of the others
    (`judges.sharpness.Sharpness`). No network has a part in it, so that there is nothing it could be blind to.
    """
    return scene.sharpness


def noise_percentile(scene: Scene) -> Tensor:
    """Percentage of real images of the target class that are at least as noisy, in [0, 100].

    Noise is what fills areas that are quiet in real images (`judges.noise.Noise`). No network has a part in it.
    """
    return scene.noise


def class_percentile(scene: Scene) -> Tensor:
    """Percentage of real images of the target class that are at least as near to another class, in [0, 100].

    What is compared is the distance of `realism_percentile` to the target over that to the nearest other class.
    """
    return scene.class_percentile


def looks_real(scene: Scene) -> Tensor:
    """Whether realism, class, sharpness and noise percentile are all within the range of real images: (N,) bool."""
    typical = REALISM.holds(scene.percentile) & CLASS.holds(scene.class_percentile)
    return typical & SHARPNESS.holds(scene.sharpness) & NOISE.holds(scene.noise)


def knn_agreement(scene: Scene, neighbours: int = NEIGHBOURS) -> Tensor:
    """Share of the nearest real training images, of all classes, whose label is the target: (N,) in [0, 1].

    1/k * #{i in kNN(x') : label_i = target}, with neighbours in the judge's features; higher is better. Unlike
    `realism_percentile` it compares classes with one another, and unlike `judge_agrees` it relies on the labels of
    real images, not on the judge's last layer. After yNN of CARLA, Pawelczyk et al. 2021, arXiv 2108.00783, which
    takes the neighbours' labels from the explained classifier.
    """
    labels = scene.reference.nearest_labels(scene.features, neighbours)
    return (labels == scene.labels[:, None]).float().mean(dim=1)
