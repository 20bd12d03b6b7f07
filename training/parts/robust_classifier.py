"""robust_classifier: a classifier that small changes do not fool, whose gradients show what its classes look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from ...classifiers.convolutional import ConvNet
from ...classifiers.introspection.attacks import library
from ..context import TrainingContext
from ..measures import is_chance, measure_classifier, verdict_on
from ..part import Made, Measured, Part, Verdict
from ..robust_fit import RobustFit, robust_accuracy

ATTACKED = 1000  # test images
STEPS = 50  # of the attack that measures
PER_PIXEL = 0.5 / 3072**0.5  # the customary 0.5 for images of 32x32 pixels and three channels
LEAST_ROBUST = 0.5  # share of a good one's test images that stay right under attack


@dataclass(frozen=True, kw_only=True)
class RobustClassifierPart(Part):
    """A classifier trained on attacked images; `cfx explain --classifier robust_classifier` explains it.

    Its accuracy under attack is measured with foolbox, of which the training uses fewer steps.
    """

    makes: ClassVar[tuple[str, ...]] = ("robust_classifier",)
    in_trial: ClassVar[bool] = False

    epochs: float = 12.0
    steps: int = 3000  # on a user's images, instead of epochs
    epsilon: float = 0.0  # largest L2 norm of the change to an image; 0: `PER_PIXEL` times the root of the pixels
    attack_steps: int = 5
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of `ConvNet` that differ from its defaults

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {"robust_classifier": 12.0}

    def distance(self, context: TrainingContext) -> float:
        """The largest L2 norm of the change to an image."""
        return self.epsilon or round(PER_PIXEL * context.split.train.images[0].numel() ** 0.5, 3)

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        library()  # fails now rather than later
        torch.manual_seed(50)
        arguments = {**context.sizes, "classes": context.count, **context.pixels, **self.network}
        model = context.begun("robust_classifier", ConvNet(**arguments))
        fit = RobustFit(
            model,
            context.split.train,
            epsilon=self.distance(context),
            attack_steps=self.attack_steps,
            epochs=context.length(self.epochs, self.steps),
            batch_size=context.recipe.batch_size,
            augmentation=context.recipe.augmentation,
            seed=50,
        )
        context.fit("robust_classifier", fit)
        return {"robust_classifier": Made(model, arguments)}

    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        """Accuracy on test images, and on attacked ones."""
        test, epsilon = context.split.test, self.distance(context)
        robust = robust_accuracy(model, test[:ATTACKED], epsilon, steps=STEPS)
        return {**measure_classifier(model, test), "epsilon": epsilon, "robust_accuracy": robust}

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        right, robust = measured["test_accuracy"], measured["robust_accuracy"]
        says = (
            f"right on {right:.1%} of test images, and on {robust:.1%} of those attacked "
            f"within an L2 distance of {measured['epsilon']:g}"
        )
        nothing = is_chance(robust, context.split.test, ATTACKED)
        useless = "under attack it is no better than always predicting the most common class" if nothing else None
        weak = "counterfactuals that follow its gradients will be noise in part"
        return verdict_on(robust >= LEAST_ROBUST, says, weak, useless=useless)
