"""Metrics of whole sets of counterfactuals: distance between distributions, and diversity."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .scene import Missing, SetScene

SPLITS = 10  # measured on 1,000 pairs: the value of one split varies by 2 % with the seed, that of ten by less than 1 %
SAMPLES_PER_FEATURE = 2  # with fewer images, a covariance reflects the sample more than the distribution


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Squared Fréchet distance between the Gaussians of features (N, F) and (M, F), in [0, inf); lower is closer.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), with means m and unbiased covariances S, in double precision. Dowson
    and Landau 1982; used for images by Heusel et al. 2017, arXiv 1706.08500 (FID; this is not FID, whose features are
    Inception's). Fewer samples give larger values, so only values from equally many samples are comparable.

    Raises:
        ValueError: a set has fewer than two rows and therefore no covariance.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"a covariance needs two rows or more, got {len(first)} and {len(second)}")
    means, roots = [], []
    for features in (first.double(), second.double()):
        mean = features.mean(dim=0)
        # R of the QR decomposition is a root of the covariance, R^T R = S. Because S is never formed, no eigenvalue can
        # become negative, and features that are always 0 cause no problem.
        root = torch.linalg.qr((features - mean) / (len(features) - 1) ** 0.5, mode="r").R
        means.append(mean)
        roots.append(root)
    # The trace of (S1 S2)^(1/2) is the sum of the singular values of R1 R2^T.
    shared = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    spread = roots[0].square().sum() + roots[1].square().sum() - 2 * shared
    return max(0.0, float((means[0] - means[1]).square().sum() + spread))


class ClassFeatures(NamedTuple):
    """Features (N, F) of images, and their classes (N,) int64."""

    features: Tensor
    classes: Tensor

    def with_classes(self, count: int, weight: Tensor) -> Tensor:
        """The features with the one-hot class times `weight` appended, (N, F + count)."""
        return torch.cat([self.features, weight * F.one_hot(self.classes, count)], dim=1)


def split_frechet(
    answers: ClassFeatures, factuals: ClassFeatures, image_ids: Tensor, *, splits: int = SPLITS, seed: int = 0
) -> tuple[float | None, str]:
    """Fréchet distance between counterfactuals, with their targets, and other questions' factuals; lower is better.

    A counterfactual shares most pixels with its factual, so compared with that factual it would always look real. The
    factuals are therefore split into two random halves, and the counterfactuals of each half are compared with
    factuals of the other half. For every counterfactual one factual is sampled whose class, according to the explained
    classifier, is the target; each is used once before any is used twice. Both directions of every split are averaged.
    This is the sFID protocol of Jeanneret et al. 2023, Adversarial Counterfactual Visual Explanations (ACE),
    arXiv 2303.09962, and their code (`compute_sFID.sh`). Sampling by class is our addition, because with many classes
    the proportions would differ.

    The class (the target, or what the classifier sees in the factual) is appended one-hot to the features, times
    their mean norm (Fréchet joint distance, DeVries et al. 2019, arXiv 1907.08175). Without it, unchanged factuals
    would score nearly as well as real images. The score of real images is the floor to compare it with:
    split_frechet(factuals, factuals, image_ids).

    Args:
        answers: features of the counterfactuals, and the classes asked for.
        factuals: features of their factuals, row by row, and the classes that the explained classifier sees in them.
        image_ids: (N,) int64, equal for questions about the same factual.
        splits: how many random splits are averaged.
        seed: seed of the splits and of the sampling.

    Returns:
        The distance and "", or None and the reason: a split left a target class without a real image, or one side
        with fewer than 2 F different real images.
    """
    names, first_rows = _first_rows(image_ids)
    least = SAMPLES_PER_FEATURE * answers.features.shape[1]
    count = 1 + int(torch.stack([answers.classes, factuals.classes]).max()) if len(answers.classes) else 0
    weight = factuals.features.norm(dim=1).mean()
    here, there = answers.with_classes(count, weight), factuals.with_classes(count, weight)
    place = torch.searchsorted(names, image_ids)
    generator = torch.Generator().manual_seed(seed)
    distances: list[float] = []
    for _ in range(splits):
        in_first = (torch.randperm(len(names), generator=generator) < len(names) // 2).to(image_ids.device)
        for half in (in_first, ~in_first):
            rows = half[place]
            others = first_rows[~half]
            sampled = _sample(answers.classes[rows], others, factuals.classes[others], generator)
            if sampled is None:
                return None, "half of the factuals contain no real image of some target class"
            different = len(sampled.unique())
            if different < least:
                needed = f"{least} needed for {least // SAMPLES_PER_FEATURE} features"
                return None, f"only {different} real images to compare with; {needed}"
            distances.append(frechet_distance(here[rows], there[sampled]))
    return sum(distances) / len(distances), ""


def _first_rows(image_ids: Tensor) -> tuple[Tensor, Tensor]:
    """The unique ids in ascending order, (U,), and the first row of each, (U,)."""
    names, group = image_ids.unique(return_inverse=True)
    rows = torch.arange(len(image_ids), device=image_ids.device)
    return names, torch.full_like(names, len(image_ids)).scatter_reduce(0, group, rows, "amin")


def _sample(targets: Tensor, rows: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor | None:
    """Samples for each target (M,) one of `rows` (R,) of this class (R,), all in turn; None if a class has none."""
    sampled = []
    for target, wanted in zip(*(t.tolist() for t in targets.unique(return_counts=True)), strict=True):
        of_class = rows[classes == target]
        if not len(of_class):
            return None
        order = torch.randperm(len(of_class), generator=generator).to(rows.device)
        sampled.append(of_class[order].repeat(-(-wanted // len(of_class)))[:wanted])
    return torch.cat(sampled) if sampled else rows[:0]


def mean_distance(images: Tensor) -> float | None:
    """Mean L2 distance over all pairs of counterfactuals of one factual, in [0, inf); higher is more diverse.

    2 / (G (G - 1)) * sum over i < j of |x'_i - x'_j|_2 for images (G, C, H, W); None for fewer than two. Mothilal et
    al. 2020 (DiCE), arXiv 1905.07697, where the distances are for tabular data.
    """
    return float(torch.pdist(images.flatten(1)).mean()) if len(images) > 1 else None


def frechet(scene: SetScene) -> float:
    """Computes `split_frechet` of all counterfactuals in the first judge's features; lower is better.

    Raises:
        Missing: there is no judge, no counterfactual, or too few images.
    """
    if scene.features is None:
        raise Missing("the bundle has no judge, or a useless one")
    if not len(scene.targets):
        raise Missing("there is no valid counterfactual")
    features, factual_features = scene.features()
    answers = ClassFeatures(features, scene.targets)
    value, why = split_frechet(answers, ClassFeatures(factual_features, scene.factual_labels), scene.image_ids)
    if value is None:
        raise Missing(why)
    return value


def diversity(scene: SetScene) -> float | None:
    """Diversity of the counterfactuals of one image (`mean_distance`), averaged over images that have several.

    None if no image has several, which is the usual case and not an error.
    """
    groups: dict[int, list[int]] = {}
    for row, image in enumerate(scene.image_ids.tolist()):
        groups.setdefault(image, []).append(row)
    several = [mean_distance(scene.images(group)) for group in groups.values() if len(group) > 1]
    found = [value for value in several if value is not None]
    return sum(found) / len(found) if found else None
