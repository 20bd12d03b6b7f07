"""How sure the explained classifier is of a counterfactual, beyond its own probability; as measured for PIECE.

Kenny and Keane 2021, On Generating Plausible Counterfactual and Semi-Factual Explanations for Deep Learning, AAAI,
arXiv 2009.06399: "MC Mean", "MC STD" and "NN-Dist" of their tables. All of it is in the explained classifier or in
parts that engines may use, so that a search could aim at it: no judge has a say.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ..classifiers.introspection.features import PenultimateFeatures
from ..counterfactuals.failures import without_features
from ..generative.donors import DonorSource
from ..images.sets.labelled import in_batches
from .scene import Missing, Scene


def mc_mean(scene: Scene) -> Tensor:
    """Mean probability of the target over 50 networks that dropout makes of the classifier, (N,), in [0, 1].

    Higher is better. Where the classifier shows no dropout layer, the mean over the bundle's `ensemble`. The units that
    are left out are the same for every image, so that no value depends on the batch or on chance.

    Raises:
        Missing, BundleError: there is neither dropout nor an ensemble.
    """
    return scene.mc_probabilities.mean(dim=0)


def mc_std(scene: Scene) -> Tensor:
    """Standard deviation of these probabilities, (N,), in [0, 0.5]; lower is better.

    Raises:
        Missing, BundleError: as `mc_mean`.
    """
    return scene.mc_probabilities.std(dim=0, unbiased=False)


def nn_distance(scene: Scene) -> Tensor:
    """Euclidean distance to the nearest real image of the target, (N,), in [0, inf); lower is better.

    In the features in front of the classifier's last linear layer, whose scale is each classifier's own: values of two
    classifiers do not compare. The real images are the bundle's `donors`, some hundred training images of each class of
    which the classifier is surest; NaN where there is none of the target.

    Raises:
        Missing: the classifier shows no linear layer.
        BundleError: the bundle has no donors.
    """
    donors = cast(DonorSource, scene.model("donors"))
    features = PenultimateFeatures(scene.classifier, scene.counterfactuals[:1])
    if features.layer is None:
        raise Missing(without_features(scene.classifier))

    def of(images: Tensor) -> Tensor:
        return features(images)[0]

    own = of(scene.counterfactuals)
    found = own.new_full((len(own),), torch.nan)
    for label in scene.labels.unique().tolist():
        reals = donors.of_label(label).images.to(own.device)
        rows = scene.labels == label
        if len(reals):
            known = in_batches(of, reals)
            found[rows] = torch.cdist(own[rows], known, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
    return found
