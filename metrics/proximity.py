"""How far a counterfactual is from its factual. All: (N, C, H, W) twice -> (N,), lower is nearer."""

from __future__ import annotations

from torch import Tensor

CHANGED = 1.5 / 255  # a pixel counts as changed if it moved by more than one 8-bit level


def l0(factuals: Tensor, counterfactuals: Tensor) -> Tensor:
    """Share of pixels changed by more than 1/255 in any channel, in [0, 1]; lower is sparser."""
    return ((counterfactuals - factuals).abs() > CHANGED).any(dim=1).float().mean(dim=(1, 2))


def l1(factuals: Tensor, counterfactuals: Tensor) -> Tensor:
    """Sum of absolute changes, in [0, C*H*W]; lower is nearer."""
    return (counterfactuals - factuals).abs().sum(dim=(1, 2, 3))


def l2(factuals: Tensor, counterfactuals: Tensor) -> Tensor:
    """Euclidean norm of the change, in [0, sqrt(C*H*W)]; lower is nearer."""
    return (counterfactuals - factuals).square().sum(dim=(1, 2, 3)).sqrt()


def linf(factuals: Tensor, counterfactuals: Tensor) -> Tensor:
    """Largest change of any one value, in [0, 1]; lower is nearer."""
    return (counterfactuals - factuals).abs().amax(dim=(1, 2, 3))
