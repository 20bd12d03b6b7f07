"""Errors of a search: a model or an engine fails, or has nothing to offer for a question."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..classifiers.introspection.layers import shows_layers
from ..errors import CfxError

READS_NONE = "use an engine that reads none, such as swap or projection"


class ModelError(CfxError):
    """A model returned unusable output, such as NaN."""


class BrokenEngine(ModelError):
    """An engine of another package failed, or an engine did not make what the contract asks for."""


class NothingToOffer(ModelError):
    """A model has nothing from which an engine could make an answer to a question."""


def without_features(classifier: Callable[[Tensor], Tensor]) -> str:
    """Why a classifier has no penultimate features, and what to do where something can be done."""
    if shows_layers(classifier):
        return f"the classifier has no linear layer whose input could be read as features; {READS_NONE}"
    return (
        "the classifier shows no linear layer whose input could be read as features (TorchScript and plain functions "
        f"show none): export the model with torch.export as a .pt2 file, or {READS_NONE}"
    )
