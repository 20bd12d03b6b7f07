"""What the classifier sees in images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..classifiers.introspection.determinism import deterministic
from ..counterfactuals.problem import Classifier, ModelError
from ..documents import Table
from .wording import percent, rounded, with_article


@dataclass(frozen=True)
class Seen:
    """The most probable class of an image, by name, and its probability."""

    name: str
    confidence: float

    def __str__(self) -> str:
        return f"{with_article(self.name)} ({percent(self.confidence)})"

    def as_json(self) -> dict[str, object]:
        """The JSON object in a record."""
        return {"class": self.name, "confidence": rounded(self.confidence)}

    @classmethod
    def from_json(cls, table: Table) -> Seen:
        """The inverse of `as_json`."""
        return cls(table.need("class", str), table.need("confidence", float))


@torch.inference_mode()
def probabilities_of(classifier: Classifier, images: Tensor) -> Tensor:
    """The classifier's probabilities (N, K) for images (N, C, H, W).

    Raises:
        ModelError: the classifier returns NaN or infinity.
    """
    with deterministic(images.device):
        probabilities = classifier(images).softmax(dim=1)
    if not torch.isfinite(probabilities).all():
        raise ModelError("the classifier returned NaN or infinity: check its weights")
    return probabilities


def seen_in(probabilities: Tensor, classes: list[str]) -> list[Seen]:
    """The most probable class of each image, from probabilities (N, K)."""
    best = probabilities.max(dim=1)
    return [Seen(classes[k], p) for k, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
