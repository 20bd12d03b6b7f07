"""autoencoders: one per class and one for all classes, used by the metrics IM1 and IM2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...images.sets.labelled import Labelled
from ...judges.autoencoders import Autoencoder, ClassAutoencoders
from ..context import TrainingContext
from ..fit import Fit, descend, set_learning_rate
from ..measures import next_class, sample_of, verdict_on
from ..part import Made, Measured, Part, Verdict


class AutoencoderFit(Fit):
    """Mean squared error with Adam."""

    def __init__(
        self,
        model: Autoencoder,
        data: Labelled,
        *,
        epochs: float = 30,
        batch_size: int = 64,
        learning_rate: float = 4e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(data, batch_size, epochs, seed)
        self.model = model
        self.learning_rate = learning_rate
        self.modules = {"model": model}
        self.optimizer = torch.optim.Adam(model.parameters())
        self.optimizers = {"model": self.optimizer}

    def step(self, index: int) -> dict[str, Tensor]:
        set_learning_rate(self.optimizer, self.learning_rate * self.cycle(index))
        images, _ = self.batch(index)
        loss = F.mse_loss(self.model(images), images)
        descend(self.optimizer, loss)
        return {"loss": loss.detach()}

    def check(self, data: Labelled) -> Tensor:
        """Mean squared error per pixel."""
        images = data.floats()
        return F.mse_loss(self.model(images), images)


@dataclass(frozen=True, kw_only=True)
class AutoencodersPart(Part):
    """K autoencoders, one per class, and one for all classes, trained on the judges' images."""

    makes: ClassVar[tuple[str, ...]] = ("autoencoders",)
    optional: ClassVar[bool] = False

    epochs: float = 30.0
    steps: int = 450  # on a user's images, instead of epochs
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of each `Autoencoder`
    least_steps: int = 10  # per epoch, for a class of few images
    most_classes: int = 60  # with more, the part is left out and IM1 and IM2 are not available

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        share = 2.0 / (len(present) + 2)
        return {**{f"autoencoders-{label}": share for label in present}, "autoencoders-all": 2 * share}

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        torch.manual_seed(5)
        arguments = {"classes": context.count, **context.sizes, **self.network}
        model = context.begun("autoencoders", ClassAutoencoders(**arguments))
        epochs, batch_size = context.length(self.epochs, self.steps), context.recipe.batch_size // 2
        everything = context.split.judge_train
        for label in context.present:
            of_class = model.of_class[label]
            assert isinstance(of_class, Autoencoder)
            data = everything.of_class(label)
            fit = AutoencoderFit(of_class, data, epochs=epochs, batch_size=batch_size, seed=100 + label)
            fit.total_steps = max(fit.total_steps, round(self.least_steps * epochs))
            context.fit(f"autoencoders-{label}", fit, judges=True, of_class=label)
        fit = AutoencoderFit(model.of_all, everything, epochs=epochs / 3, batch_size=batch_size, seed=99)
        context.fit("autoencoders-all", fit, judges=True)
        return {"autoencoders": Made(model, arguments)}

    @torch.inference_mode()
    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        assert isinstance(model, ClassAutoencoders)
        images, labels = sample_of(context.split.test)
        own = (images - model.reconstruct(images, labels)).square().mean()
        other = (images - model.reconstruct(images, next_class(labels, context.present))).square().mean()
        return {"own_class_error": round(float(own), 5), "other_class_error": round(float(other), 5)}

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        own, other = measured["own_class_error"], measured["other_class_error"]
        says = f"error {own:.4f} on their own class, {other:.4f} on another"
        useless = "they do not distinguish the classes" if own >= other else None
        return verdict_on(own < 0.9 * other, says, "IM1 barely distinguishes the classes", useless=useless)

    def left_out(self, context: TrainingContext) -> str | None:
        if len(context.present) > self.most_classes:
            return f"it needs one autoencoder per class, and {len(context.present)} classes are too many"
        return None
