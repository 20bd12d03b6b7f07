"""Whether the pixels that a counterfactual changes most are those that change the prediction."""

from __future__ import annotations

import torch
from torch import Tensor

from ..counterfactuals.problem import LARGEST_BATCH
from .scene import Scene


@torch.no_grad()
def cout(scene: Scene, *, steps: int = 20) -> Tensor:
    """AUPC of the target minus AUPC of the factual's class, (N,), in [-1, 1]; higher is better.

    The pixels of x are replaced by those of x', the pixels with the largest |x' - x| (summed over channels) first, in
    `steps` equal shares of all H*W pixels. AUPC_k is the area under the probability of class k as a function of the
    share replaced, by the trapezoidal rule. A high COUT means that few pixels, the most changed ones, change the
    prediction. x' = x scores P_target(x) - P_factual(x), which is near -1. Khorram and Fuxin 2022, Cycle-Consistent
    Counterfactuals by Latent Transformations, arXiv 2203.15064, and their code (`calculate_cout`), which uses 50
    steps. Values with 20 and 100 steps differ by 0.008 in the mean over pairs and by at most 0.03 (vcnet and
    projection, 600 pairs of MNIST test digits).

    Args:
        scene: the counterfactuals to score.
        steps: number of steps of the curve.
    """
    factuals, counterfactuals = scene.factuals, scene.counterfactuals
    factual_classes, targets = scene.factual_classes, scene.targets
    count, pixels = len(factuals), factuals.shape[2] * factuals.shape[3]
    change = scene.change.abs().sum(dim=1).flatten(1)
    # A stable sort, so that pixels with equal changes (8-bit images have many) keep the same order.
    rank = change.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    replaced = (torch.arange(steps + 1, device=change.device) * pixels / steps).round().long()
    # Unchanged pixels are replaced by themselves. From the first point at which all others are replaced, the image is
    # the counterfactual, and the classifier need not evaluate it again.
    last = torch.searchsorted(replaced, (change > 0).sum(dim=1))
    points = torch.arange(steps + 1, device=change.device)
    row, point = (points <= last[:, None]).nonzero(as_tuple=True)

    curves = change.new_zeros(count, steps + 1, 2)
    for rows, places in zip(row.split(LARGEST_BATCH), point.split(LARGEST_BATCH), strict=True):
        chosen = (rank[rows] < replaced[places, None]).view(len(rows), 1, *factuals.shape[2:])
        between = torch.where(chosen, counterfactuals[rows], factuals[rows])
        pair = torch.stack([targets[rows], factual_classes[rows]], dim=1)
        curves[rows, places] = scene.classifier(between).softmax(dim=1).gather(1, pair)
    curves = curves.gather(1, points.minimum(last[:, None])[:, :, None].expand(-1, -1, 2))
    target, factual = torch.trapezoid(curves, (replaced / pixels)[:, None], dim=1).unbind(dim=1)
    return target - factual
