"""Fits that end with a moving average of the weights, which varies less than the latest weights."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..images.sets.labelled import Labelled
from .fit import Fit

Model = TypeVar("Model", bound=nn.Module)


class AveragedFit(Fit, Generic[Model]):
    """A fit of one model, whose averaged weights are checked and returned. Each step must update `average`.

    Args:
        model: the model to train.
        data, batch_size, epochs, seed: as in `Fit`.
    """

    def __init__(self, model: Model, data: Labelled, batch_size: int, epochs: float, seed: int) -> None:
        super().__init__(data, batch_size, epochs, seed)
        self.model = model
        self.average = moving_average(model)

    @property
    def averaged(self) -> Model:
        """The model with the moving average of the weights."""
        return cast(Model, self.average.module)

    def finished(self) -> Model:
        """Copy the averaged weights into the model and return it in eval mode."""
        self.model.load_state_dict(self.averaged.state_dict())
        return self.model.eval()


def moving_average(model: nn.Module, decay: float = 0.999) -> AveragedModel:
    """The model with a moving average of its weights over the last thousand steps, or the last fifth if that is less.

    The latter keeps the initial weights out of the average of a short run.
    """

    def update(average: Tensor, weight: Tensor, count: Tensor | int) -> Tensor:
        share = min(decay, 1 - 1 / (1 + float(count) / 5))
        return torch.lerp(weight, average, share)

    return AveragedModel(model, avg_fn=update)
