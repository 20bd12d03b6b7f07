"""Percentiles among real images, whose quantiles are stored."""

from __future__ import annotations

import torch
from torch import Tensor


def percentile_among(quantiles: Tensor, values: Tensor) -> Tensor:
    """Percentage of real images whose value is at least as large as `values` (N,), in [0, 100].

    Args:
        quantiles: (N, Q), in each row the quantiles of real images that the value is compared with, ascending.
        values: (N,).
    """
    smaller = torch.searchsorted(quantiles.contiguous(), values[:, None]).squeeze(1)
    return 100 * (1 - smaller / quantiles.shape[1])
