"""Fits the judges' measure of sharpness to real images. It has no training: means, covariances and quantiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from ..images.detail import measure_detail
from ..judges.sharpness import Sharpness

SIGMA = 0.5  # pixels: halves the power of the finest octave of digits, clothes, traffic signs and CIFAR-10 alike
WINDOW = 5  # pixels; the Gaussian's weights further out are below 1e-5
FOLDS = 5
PRIOR = 100  # images that what all classes have in common counts as, next to the images of a class
RIDGE = 1e-4  # squared logarithms: no measure is trusted to more than 1 %


@dataclass(frozen=True)
class Details:
    """The detail `measures` (N, F) of images, what a blur takes from it, `losses` (N, F), and their `labels` (N,)."""

    measures: Tensor
    losses: Tensor
    labels: Tensor

    @classmethod
    def of(cls, batches: Iterable[Tensor], labels: Tensor) -> Details:
        """Measures the detail of batches of images (n, C, H, W) in [0, 1] with the labels (N,)."""
        measures, losses = [], []
        for images in batches:
            blurred = gaussian_blur(images, [WINDOW, WINDOW], [SIGMA, SIGMA])
            measures.append(measure_detail(images))
            losses.append(measures[-1] - measure_detail((blurred * 255).round() / 255))
        return cls(torch.cat(measures), torch.cat(losses), labels)

    def __getitem__(self, rows: Tensor) -> Details:
        return Details(self.measures[rows], self.losses[rows], self.labels[rows])


def fit_sharpness(model: Sharpness, details: Details, present: Sequence[int]) -> None:
    """Set the buffers of `model`, as they will be stored: in half precision.

    The quantiles are those of images that the means and weights were not fitted to (cross-validation): an image is
    always nearer to a mean that it is part of. Quantiles of classes with few images are drawn to those of all classes.
    """
    blurs = torch.empty(len(details.labels))
    # Dealt out in turn within each class, so that every fold has its share of it.
    place = details.labels.argsort(stable=True).argsort()
    for fold in range(FOLDS):
        inside = place % FOLDS == fold
        means, weights = estimator(details[~inside], present)
        found = details[inside]
        rows = torch.searchsorted(torch.tensor(present), found.labels)
        blurs[inside] = ((means[rows] - found.measures) * weights[rows]).sum(dim=1)
    levels = torch.linspace(0, 1, model.blurs.shape[1])
    of_all = blurs.quantile(levels)
    exact, weights = estimator(details, present)
    model.means[present], model.weights[present] = exact.half().float(), weights.half().float()
    for row, label in enumerate(present):
        own = blurs[details.labels == label]
        blur = mixed(own.quantile(levels), len(own), of_all)
        # What rounding the means adds to every blur is added here as well.
        model.blurs[label] = blur + ((model.means[label] - exact[row]) * model.weights[label]).sum()


def estimator(details: Details, present: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The means and the weights, as in `Sharpness`, of the classes `present` (P): (P, F) each.

    A class's covariance is drawn to that of all classes, and this one to its diagonal (regularised discriminant
    analysis, Friedman 1989, JASA 84(405)), so that a handful of images is enough.
    """
    overall = details.measures.mean(dim=0)
    own = [details.labels == label for label in present]
    means = torch.stack([mixed_sum(details.measures[rows].sum(dim=0), int(rows.sum()), overall, 1) for rows in own])
    deviations = [(details.measures[rows] - mean).double() for rows, mean in zip(own, means, strict=True)]
    count = len(details.labels)
    scatter = torch.stack([each.T @ each for each in deviations])
    common = mixed(scatter.sum(dim=0) / count, count, scatter.sum(dim=0).diagonal().diag() / count)
    common += RIDGE * torch.eye(len(common))
    weights = []
    for rows, own_scatter in zip(own, scatter, strict=True):
        images = int(rows.sum())
        loss = mixed_sum(details.losses[rows].sum(dim=0), images, details.losses.mean(dim=0)).double()
        weight = torch.linalg.solve(mixed_sum(own_scatter, images, common), loss)
        weights.append(weight / (weight @ loss).clamp(min=RIDGE))
    return means, torch.stack(weights).float()


def mixed_sum(total: Tensor, count: int, common: Tensor, prior: int = PRIOR) -> Tensor:
    """The mean of `count` values with this total and `prior` more that equal `common`."""
    return (total + prior * common) / (count + prior)


def mixed(mean: Tensor, count: int, common: Tensor) -> Tensor:
    """As `mixed_sum`, given the mean of the values."""
    return mixed_sum(count * mean, count, common)
