"""spectral_classifier: a classifier whose features keep distances, so that their density says what is typical."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from ...classifiers.spectral import SpectralNet
from ..augment import UNDEFORMED
from ..bounded import bound_convolutions, release_convolutions, spectral_norms
from ..classifier_fit import train_classifier
from ..context import TrainingContext
from ..measures import is_chance, measure_classifier, verdict_on
from ..part import Made, Measured, Part, Verdict


@dataclass(frozen=True, kw_only=True)
class SpectralClassifierPart(Part):
    """A residual classifier with spectral normalisation; `cfx explain --classifier spectral_classifier` explains it.

    It is the kind of classifier for which DeDUCE was made (Höltgen et al. 2021, arXiv 2111.15639, section 3).
    """

    makes: ClassVar[tuple[str, ...]] = ("spectral_classifier",)
    in_trial: ClassVar[bool] = False

    epochs: float = 15.0
    steps: int = 3000  # on a user's images, instead of epochs
    limit: float = 4.0  # largest spectral norm of a convolution; Höltgen et al. 2021, section 4
    plain: bool = False  # learn from images as they are, as in the paper, instead of from deformed and noisy ones
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of `SpectralNet` that are not defaults

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {"spectral_classifier": 5.0}

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        torch.manual_seed(70)
        arguments = {
            "channels": context.sizes["channels"],
            "classes": context.count,
            **context.pixels,
            **self.network,
        }
        model = context.begun("spectral_classifier", SpectralNet(**arguments))
        bound_convolutions(model, self.limit, context.split.train.floats(slice(0, 1)))
        epochs = context.length(self.epochs, self.steps)
        how = {"augmentation": UNDEFORMED, "noise": 0.0} if self.plain else {}
        train_classifier(context, model, "spectral_classifier", epochs=epochs, seed=70, mixup=0.0, **how)
        release_convolutions(model)
        return {"spectral_classifier": Made(model, arguments)}

    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        """Accuracy on test images, and the largest spectral norm of a convolution."""
        norms = spectral_norms(model, context.split.test.floats(slice(0, 1)))
        return {**measure_classifier(model, context.split.test), "largest_norm": round(max(norms), 3)}

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        right, norm = measured["test_accuracy"], measured["largest_norm"]
        says = f"right on {right:.1%} of test images; its convolutions have spectral norms up to {norm:.2f}"
        nothing = is_chance(right, context.split.test)
        useless = "it is no better than always predicting the most common class" if nothing else None
        commonest = measured["commonest_class"]
        good = right >= commonest + 0.5 * (1 - commonest)  # as the explained classifier's
        return verdict_on(good, says, "it is too inaccurate for explanations to be useful", useless=useless)
