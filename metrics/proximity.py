"""Distances between a counterfactual and its factual. All return (N,); lower is closer."""

from __future__ import annotations

from torch import Tensor

from .scene import Scene

CHANGED = 1.5 / 255  # a pixel counts as changed if it changes by more than one 8-bit level


def l0(scene: Scene) -> Tensor:
    """Share of pixels changed by more than 1/255 in any channel, in [0, 1]; lower is sparser."""
    return (scene.change.abs() > CHANGED).any(dim=1).float().mean(dim=(1, 2))


def l1(scene: Scene) -> Tensor:
    """Sum of absolute changes, in [0, C*H*W]; lower is closer."""
    return scene.change.abs().sum(dim=(1, 2, 3))


def l2(scene: Scene) -> Tensor:
    """Euclidean norm of the change, in [0, sqrt(C*H*W)]; lower is closer."""
    return scene.change.square().sum(dim=(1, 2, 3)).sqrt()


def linf(scene: Scene) -> Tensor:
    """Largest absolute change of a single value, in [0, 1]; lower is closer."""
    return scene.change.abs().amax(dim=(1, 2, 3))
