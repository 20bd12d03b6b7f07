"""Moving averages of weights, which vary less than the latest weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def moving_average(model: nn.Module, decay: float = 0.999) -> AveragedModel:
    """The model with a moving average of its weights over the last thousand steps, or the last fifth if that is less.

    The latter keeps the initial weights out of the average of a short run.
    """

    def update(average: Tensor, weight: Tensor, count: Tensor | int) -> Tensor:
        share = min(decay, 1 - 1 / (1 + float(count) / 5))
        return torch.lerp(weight, average, share)

    return AveragedModel(model, avg_fn=update)
