"""Convolutions whose spectral norm is bounded while they are trained."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

WARM_UP = 15  # power iterations on the initial weight


class Bounded(nn.Module):
    """Divides a weight by its spectral norm over a limit, if it is larger: a `torch.nn.utils.parametrize` module.

    The norm is that of the weight as a matrix (outputs, inputs * height * width), from one power iteration a step.
    Source: Miyato et al. 2018, arXiv 1802.05957, algorithm 1; the limit as in Gouk et al. 2021, arXiv 1804.04368.

    Args:
        weight: (O, I, h, w) the initial weight.
        limit: largest spectral norm.
    """

    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor, limit: float) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("left", F.normalize(torch.randn(weight.shape[0]), dim=0))
        self.register_buffer("right", F.normalize(torch.randn(weight[0].numel()), dim=0))
        for _ in range(WARM_UP):
            self._iterate(weight.detach().flatten(1))

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self.right = F.normalize(matrix.T @ self.left, dim=0)
        self.left = F.normalize(matrix @ self.right, dim=0)

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        if self.training:
            self._iterate(matrix)
        return weight / (torch.vdot(self.left, matrix @ self.right) / self.limit).clamp(min=1)


def bound_convolutions(model: nn.Module, limit: float) -> None:
    """Bound the spectral norm of the weight of every convolution of a model, until `release_convolutions`."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            parametrize.register_parametrization(module, "weight", Bounded(module.weight, limit))


def release_convolutions(model: nn.Module) -> None:
    """Store the bounded weights as ordinary ones."""
    for module in [*model.modules()]:
        if isinstance(module, nn.Conv2d) and parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
