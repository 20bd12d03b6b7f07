"""Convolutions whose spectral norm is bounded while they are trained."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input
from torch.nn.utils import parametrize

WARM_UP = 15  # power iterations on the initial weight
CONVERGED = 100  # power iterations to measure a norm


class Bounded(nn.Module):
    """Divides the weight of a convolution by its spectral norm over a limit, if it is larger.

    A `torch.nn.utils.parametrize` module. The norm is that of the convolution as a linear map of inputs of one size,
    zero padding and stride included, from one power iteration a step. It is up to sqrt(h * w) times that of the weight
    as a matrix (outputs, inputs * h * w).

    Source: Gouk et al. 2021, arXiv 1804.04368, algorithm 1 and section 3.2; Mukhoti et al. 2023, arXiv 2102.11582.

    Args:
        layer: the convolution.
        size: (C, H, W) of its input.
        limit: largest spectral norm.
    """

    right: Tensor

    def __init__(self, layer: nn.Conv2d, size: torch.Size, limit: float) -> None:
        super().__init__()
        self.limit = limit
        self._how = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
        weight = layer.weight.detach()
        self.register_buffer("right", F.normalize(weight.new_empty(1, *size).normal_().flatten(1)).view(1, *size))
        self.iterate(weight, WARM_UP)

    @torch.no_grad()
    def iterate(self, weight: Tensor, count: int = 1) -> None:
        """Make `count` power iterations with a weight."""
        for _ in range(count):
            left = F.conv2d(self.right, weight, **self._how)
            back = conv2d_input(list(self.right.shape), weight, left, **self._how)
            self.right = F.normalize(back.flatten(1)).view_as(back)  # a new tensor: a graph may hold the old one

    def norm(self, weight: Tensor) -> Tensor:
        """The spectral norm, (), of the convolution with a weight, as far as the power iterations have found it."""
        return torch.linalg.vector_norm(F.conv2d(self.right, weight, **self._how))

    def forward(self, weight: Tensor) -> Tensor:
        if self.training:
            self.iterate(weight)
        return weight / (self.norm(weight) / self.limit).clamp(min=1)


def input_sizes(model: nn.Module, images: Tensor) -> dict[nn.Conv2d, torch.Size]:
    """The size (C, H, W) of the input of every convolution of a model, for images (N, C, H, W)."""
    sizes: dict[nn.Conv2d, torch.Size] = {}
    hooks = [
        module.register_forward_pre_hook(lambda layer, inputs: sizes.update({layer: inputs[0].shape[1:]}))
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    mode = model.training
    try:
        with torch.no_grad():
            model.eval()(images)
    finally:
        model.train(mode)
        for hook in hooks:
            hook.remove()
    return sizes


def bound_convolutions(model: nn.Module, limit: float, images: Tensor) -> None:
    """Bound the spectral norm of every convolution of a model, until `release_convolutions`.

    Args:
        model: the model.
        limit: largest spectral norm.
        images: (N, C, H, W) of the size that the model is trained on.
    """
    for layer, size in input_sizes(model, images).items():
        parametrize.register_parametrization(layer, "weight", Bounded(layer, size, limit))


def release_convolutions(model: nn.Module) -> None:
    """Store the bounded weights as ordinary ones."""
    for module in [*model.modules()]:
        if isinstance(module, nn.Conv2d) and parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


@torch.no_grad()
def spectral_norms(model: nn.Module, images: Tensor) -> list[float]:
    """The spectral norm of every convolution of a model, as a linear map of inputs of the size that images give."""
    norms: list[float] = []
    for layer, size in input_sizes(model, images).items():
        bounded = Bounded(layer, size, limit=1.0)
        bounded.iterate(layer.weight, CONVERGED)
        norms.append(float(bounded.norm(layer.weight)))
    return norms
