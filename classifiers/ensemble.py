"""Several classifiers of one architecture, whose disagreement says how little the training images determine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .convolutional import ConvNet


class Ensemble(nn.Module):
    """Classifiers trained alike with different seeds (Lakshminarayanan et al. 2017, arXiv 1612.01474).

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
