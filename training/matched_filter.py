"""Fits the judges' measures of blur and noise to real images. They have no training: means, covariances, quantiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from ..counterfactuals.problem import as_written
from ..images.detail import measure_detail, measure_noise
from ..judges.matched_filter import MatchedFilter

SIGMA = 0.5  # pixels: halves the power of the finest octave of digits, clothes, traffic signs and CIFAR-10 alike
WINDOW = 5  # pixels; the Gaussian's weights further out are below 1e-5
VISIBLE = 0.02  # standard deviation of noise that people just see on a smooth ground: Weber's fraction of a pixel range
INVISIBLE = 1 / 255  # largest standard deviation of noise that counts as none: one grey level
FOLDS = 5
PRIOR = 100  # images that what all classes have in common counts as, next to the images of a class
RIDGE = 1e-4  # squared logarithms: no measure is trusted to more than 1 %


@dataclass(frozen=True)
class Details:
    """What images measure, `measures` (N, F), what an effect takes from that, `losses` (N, F), and `labels` (N,)."""

    measures: Tensor
    losses: Tensor
    labels: Tensor

    def __getitem__(self, rows: Tensor) -> Details:
        return Details(self.measures[rows], self.losses[rows], self.labels[rows])


Change = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Effect:
    """An effect on images (N, C, H, W) in [0, 1], and the measures that show it.

    Attributes:
        measure: images -> (N, F).
        act: images with the effect.
        before: changes that count as none, made to real images before they are measured; None if there are none.
    """

    measure: Callable[[Tensor], Tensor]
    act: Change
    before: Change | None = None


def blurred(images: Tensor, random: torch.Generator) -> Tensor:
    """Images (N, C, H, W) after a slight Gaussian blur."""
    return as_written(gaussian_blur(images, [WINDOW, WINDOW], [SIGMA, SIGMA]))


def visibly_noisy(images: Tensor, random: torch.Generator) -> Tensor:
    """Images (N, C, H, W) with just visible Gaussian noise."""
    return _noisy(images, VISIBLE, random)


def invisibly_noisy(images: Tensor, random: torch.Generator) -> Tensor:
    """Images (N, C, H, W), each with Gaussian noise of another standard deviation up to one grey level.

    Without it, images of a data set whose ground has exactly one value would make one grey level there look like noise.
    """
    deviation = INVISIBLE * torch.rand(len(images), 1, 1, 1, generator=random, device="cpu").to(images)
    return _noisy(images, deviation, random)


def _noisy(images: Tensor, deviation: float | Tensor, random: torch.Generator) -> Tensor:
    return as_written(images + deviation * torch.randn(images.shape, generator=random, device="cpu").to(images))


BLUR = Effect(measure_detail, blurred)
NOISE = Effect(measure_noise, visibly_noisy, invisibly_noisy)


def measure_effects(batches: Iterable[Tensor], labels: Tensor, effects: Sequence[Effect]) -> list[Details]:
    """Measures batches of images (n, C, H, W) in [0, 1] with the labels (N,), and what each effect takes from them."""
    random = torch.Generator("cpu").manual_seed(0)
    found: list[tuple[list[Tensor], list[Tensor]]] = [([], []) for _ in effects]
    for images in batches:
        for effect, (measures, losses) in zip(effects, found, strict=True):
            real = images if effect.before is None else effect.before(images, random)
            measures.append(effect.measure(real))
            losses.append(measures[-1] - effect.measure(effect.act(real, random)))
    return [Details(torch.cat(measures), torch.cat(losses), labels) for measures, losses in found]


def fit_filter(model: MatchedFilter, details: Details, present: Sequence[int]) -> None:
    """Set the buffers of `model`, as they will be stored: in half precision.

    The quantiles are those of images that the means and weights were not fitted to (cross-validation): an image is
    always nearer to a mean that it is part of. Quantiles of classes with few images are drawn to those of all classes.
    """
    strengths = torch.empty(len(details.labels))
    # Dealt out in turn within each class, so that every fold has its share of it.
    place = details.labels.argsort(stable=True).argsort()
    for fold in range(FOLDS):
        inside = place % FOLDS == fold
        means, weights = estimator(details[~inside], present)
        found = details[inside]
        rows = torch.searchsorted(torch.tensor(present), found.labels)
        strengths[inside] = ((means[rows] - found.measures) * weights[rows]).sum(dim=1)
    quantiles = quantiles_of(strengths, details.labels, present, model.quantiles.shape[1])
    exact, weights = estimator(details, present)
    model.means[present], model.weights[present] = exact.half().float(), weights.half().float()
    for row, label in enumerate(present):
        # What rounding the means adds to every strength is added here as well.
        rounding = ((model.means[label] - exact[row]) * model.weights[label]).sum()
        model.quantiles[label] = quantiles[row] + rounding


def quantiles_of(values: Tensor, labels: Tensor, present: Sequence[int], levels: int) -> Tensor:
    """Quantiles of values (N,) with labels (N,) in each class `present` (P), ascending: (P, levels).

    Those of classes with few images are drawn to those of all classes.
    """
    shares = torch.linspace(0, 1, levels)
    of_all = values.quantile(shares)
    own = [values[labels == label] for label in present]
    return torch.stack([mixed(each.quantile(shares), len(each), of_all) for each in own])


def estimator(details: Details, present: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The means and the weights, as in `MatchedFilter`, of the classes `present` (P): (P, F) each.

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
