"""Implausibility: how little a counterfactual is like the training images of its target that are nearest to it.

Altmeyer et al. 2024, Faithful Model Explanations through Energy-Constrained Conformal Counterfactuals (ECCCo), AAAI,
arXiv 2312.10648, measure images by (1 - SSIM) / 2. SSIM is that of Wang et al. 2004, with a Gaussian window of 11 x 11
pixels and a standard deviation of 1.5, over the places where the window lies within the image, of pixels in [-1, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .pixels import as_floats
from .scene import Missing, Scene

NEAREST = 100  # training images
SIDE, STD = 11, 1.5  # pixels, of the window
STEADY = ((0.01 * 2) ** 2, (0.03 * 2) ** 2)  # the constants of Wang et al., for values in a range of 2


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """SSIM of images (N, C, H, W) in [0, 1], row by row, (N,) in [-1, 1]; the mean over channels and places.

    Either may have a single row, which is compared with all of the other. It equals scikit-image's
    `structural_similarity` with `gaussian_weights`, `sigma=1.5`, `use_sample_covariance=False` and `data_range=2`.
    """
    x, y = 2 * first - 1, 2 * second - 1
    mean_x, mean_y = _blurred(x), _blurred(y)
    variance_x, variance_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    light, contrast = STEADY
    above = (2 * mean_x * mean_y + light) * (2 * covariance + contrast)
    below = (mean_x**2 + mean_y**2 + light) * (variance_x + variance_y + contrast)
    return (above / below).mean(dim=(1, 2, 3))


def _blurred(images: Tensor) -> Tensor:
    """Means under the window, at all places where it lies within the images."""
    channels = images.shape[1]
    place = torch.arange(SIDE, device=images.device, dtype=images.dtype) - SIDE // 2
    weights = torch.exp(-(place**2) / (2 * STD**2))
    weights = (weights / weights.sum()).expand(channels, 1, 1, SIDE)
    return F.conv2d(F.conv2d(images, weights, groups=channels), weights.mT, groups=channels)


def implausibility_of(counterfactuals: Tensor, reals: Tensor) -> Tensor:
    """Mean of (1 - SSIM) / 2 to the `NEAREST` real images that are nearest in L2, (N,) in [0, 1]; lower is better.

    Args:
        counterfactuals: (N, C, H, W) in [0, 1], with sides of at least 11 pixels.
        reals: (M, C, H, W) in [0, 1] or uint8, training images of their class.
    """
    flat = as_floats(reals).flatten(1)
    distances = torch.cdist(counterfactuals.flatten(1), flat)
    nearest = distances.topk(min(NEAREST, len(reals)), dim=1, largest=False).indices
    shape = counterfactuals.shape[1:]
    similar = [
        structural_similarity(image[None], flat[rows].view(-1, *shape)).mean()
        for image, rows in zip(counterfactuals, nearest, strict=True)
    ]
    return (1 - torch.stack(similar)) / 2


def implausibility(scene: Scene) -> Tensor:
    """`implausibility_of` with the training images of each target, (N,); lower is better.

    Raises:
        Missing: there are no training images, or none of a target; or the images are smaller than the window.
    """
    if scene.training is None:
        raise Missing("the classifier's training images are not known (cfx bench --data)")
    if min(scene.counterfactuals.shape[2:]) < SIDE:
        raise Missing(f"SSIM needs images of at least {SIDE} x {SIDE} pixels")
    found = scene.counterfactuals.new_empty(len(scene.labels))
    for label in scene.labels.unique().tolist():
        reals = scene.training.of_class(label).to(found.device)
        if not len(reals):
            raise Missing(f"there are no training image of the target with the label {label}")
        rows = scene.labels == label
        found[rows] = implausibility_of(scene.counterfactuals[rows], reals)
    return found
