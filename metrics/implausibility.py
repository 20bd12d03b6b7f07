"""Implausibility: how unlike the nearest training images of its target a counterfactual is.

Altmeyer et al. 2024, Faithful Model Explanations through Energy-Constrained Conformal Counterfactuals (ECCCo), AAAI,
arXiv 2312.10648, and their code, `pat-alt/ECCCo.jl`, with ImageQualityIndexes.jl for SSIM.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .pixels import as_floats, squared_distances
from .scene import Missing, Scene

NEIGHBOURS = 100  # n_nearest_neighbors in their code
WINDOW, DEVIATION = 11, 1.5  # pixels; Wang et al. 2004, section III.B
STABILISERS = 0.01**2, 0.03**2  # C1 and C2 for values in [0, 1]; Wang et al. 2004
VALUES = 2**26  # values of training images that are compared at a time, 256 MiB


def implausibility_of(counterfactuals: Tensor, reals: Tensor, *, neighbours: int = NEIGHBOURS) -> Tensor:
    """Mean of (1 - SSIM) / 2 to the nearest real images, (N,), in [0, 1]; lower is more plausible.

    The nearest are those with the smallest Euclidean distance. The authors' code sorts all real images by the measure
    itself and averages the smallest values, so its value is never larger than this one.

    Args:
        counterfactuals: (N, C, H, W) in [0, 1].
        reals: (M, C, H, W), real images of the target, in [0, 1] or the same values as uint8.
        neighbours: how many of them count; all if there are fewer.

    Returns:
        The values; NaN if there is no real image.
    """
    if not len(reals):
        return counterfactuals.new_full((len(counterfactuals),), torch.nan)
    blocks = reals.split(max(1, VALUES // reals[0].numel()))
    distances = torch.cat([squared_distances(counterfactuals, as_floats(block))[0] for block in blocks], dim=1)
    nearest = distances.topk(min(neighbours, len(reals)), largest=False).indices
    # One after another: its hundred neighbours fit into the processor's cache, those of a batch do not.
    values = [
        (1 - ssim(image[None], as_floats(reals[rows])).mean()) / 2
        for image, rows in zip(counterfactuals, nearest, strict=True)
    ]
    return torch.stack(values) if values else counterfactuals.new_zeros(0)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity of images, row by row, (N,), in [-1, 1]; 1 between equal ones.

    The mean over pixels and colours of Wang et al. 2004, Image Quality Assessment: From Error Visibility to Structural
    Similarity, equation 13, with a Gaussian window of 11 x 11 pixels and standard deviation 1.5. Images continue
    mirrored beyond their border, whose pixels count, as in ImageQualityIndexes.jl and MATLAB; scikit-image computes
    the same for every pixel, but leaves those nearer than 5 pixels to the border out of the mean.

    Args:
        first, second: (N, C, H, W) in [0, 1]; N may be 1 in one of them, which is then compared with all of the other.
    """
    rows, columns = (smoother(side, first) for side in first.shape[2:])

    def smoothed(images: Tensor) -> Tensor:
        return rows @ images @ columns.T

    mean, other_mean = smoothed(first), smoothed(second)
    product = mean * other_mean
    squares = mean.square() + other_mean.square()
    variances = smoothed(first.square()) + smoothed(second.square()) - squares
    covariance = smoothed(first * second) - product
    luminance, structure = STABILISERS
    above = (2 * product + luminance) * (2 * covariance + structure)
    return (above / ((squares + luminance) * (variances + structure))).mean(dim=(1, 2, 3))


def smoother(length: int, like: Tensor) -> Tensor:
    """The matrix (length, length) that smooths along one side of an image, which continues mirrored at its ends."""
    offsets = torch.arange(WINDOW) - WINDOW // 2
    weights = torch.exp(-offsets.double().square() / (2 * DEVIATION**2))
    places = (torch.arange(length)[:, None] + offsets) % (2 * length)
    places = torch.where(places < length, places, 2 * length - 1 - places)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    return matrix.scatter_add_(1, places, (weights / weights.sum()).expand(length, -1).contiguous()).to(like)


def implausibility(scene: Scene) -> Tensor:
    """Computes `implausibility_of` of each counterfactual, with the classifier's training images of its target, (N,).

    Raises:
        Missing: the training images are not known.
    """
    if scene.training is None:
        raise Missing("the classifier's training images are not known (cfx bench --data)")
    found = scene.counterfactuals.new_zeros(len(scene.labels))
    for label in scene.labels.unique().tolist():
        rows = scene.labels == label
        reals = scene.training.of_class(label).to(found.device)
        found[rows] = implausibility_of(scene.counterfactuals[rows], reals)
    return found
