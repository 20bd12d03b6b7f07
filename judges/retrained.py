"""Retrained copies of the explained classifier, to test whether counterfactuals stay valid after retraining."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..classifiers.convolutional import ConvNet


class Retrained(nn.Module):
    """Several classifiers trained with the same recipe and different seeds.

    Args:
        count: number of classifiers M.
        options: arguments of each `ConvNet`.
    """

    def __init__(self, count: int = 2, **options: Any) -> None:
        super().__init__()
        self.members = nn.ModuleList(ConvNet(**options) for _ in range(count))

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) in [0, 1] -> logits (M, N, K)."""
        return torch.stack([member(images) for member in self.members])
