"""matching: a velocity field that transports images to noise and back, given the classifier's probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...bundles.bundle import Bundle
from ...generative.velocity import VelocityField
from ...images.sets.labelled import Labelled, in_batches
from ..averaging import AveragedFit
from ..context import TrainingContext
from ..fit import descend, set_learning_rate
from ..measures import MEASURED_ON, is_chance, recognition, share, verdict_on
from ..part import Made, Measured, Part, Sample, Verdict
from ..precision import half_where_fast

DRAWN = 500  # images that are drawn from noise to measure it
DRAWING_STEPS = 16  # of Heun's method
WEIGHT = 12.0  # of its time, against those of other fits
NARROW, USUAL, WIDE = 32, 64, 96  # feature maps: where time is short, usually, and on an accelerator
NARROW_COST = 0.35  # share of the usual network's time that the narrow one takes; measured
ENOUGH = 0.5  # share of the usual network's time from which on it learns more than the narrow one
LONGER = 3.0  # times the steps on an accelerator
CONFIDENT = 0.1  # share of a class's images, those of which the classifier is surest, that are typical of it


class MatchingFit(AveragedFit[VelocityField]):
    """Conditional flow matching with straight paths: the velocity at (1 - t) image + t noise is noise - image.

    Levels t are drawn from a logit-normal distribution, which favours the middle, where the velocity is hardest to
    predict (Esser et al. 2024, arXiv 2403.03206, section 3.1).

    Args:
        model: the velocity field to train.
        probabilities: (N, K) the explained classifier's, of the images of `data`: the condition.
        predict: images (M, C, H, W) in [0, 1] -> their probabilities, for held-out images.
        dropped: share of the images that are shown without their condition, for classifier-free guidance.
        clip: largest norm of the gradient.
    """

    def __init__(
        self,
        model: VelocityField,
        probabilities: Tensor,
        predict: Callable[[Tensor], Tensor],
        data: Labelled,
        *,
        epochs: float,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        dropped: float = 0.1,
        clip: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(model, data, batch_size, epochs, seed)
        self.probabilities = probabilities
        self.predict = predict
        self.learning_rate = learning_rate
        self.dropped = dropped
        self.clip = clip
        self.modules = {"model": model, "average": self.average}
        self.optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
        self.optimizers = {"model": self.optimizer}

    def step(self, index: int) -> dict[str, Tensor]:
        set_learning_rate(self.optimizer, self.learning_rate * self.cycle(index))
        images, _ = self.batch(index)
        dropped = torch.rand(len(images)) < self.dropped
        level, noise = torch.sigmoid(torch.randn(len(images))), torch.randn_like(images)
        loss = self.loss(self.model, images, level, noise, self.probabilities[self.chosen(index)], dropped)
        descend(self.optimizer, loss, clip=self.clip)
        self.average.update_parameters(self.model)
        return {"loss": loss.detach()}

    def loss(
        self,
        model: VelocityField,
        images: Tensor,
        level: Tensor,
        noise: Tensor,
        condition: Tensor,
        dropped: Tensor | None = None,
    ) -> Tensor:
        """Mean squared error of the velocity, per pixel; arguments as in `VelocityField.forward`."""
        scaled = images * 2 - 1
        noised = torch.lerp(scaled, noise, level[:, None, None, None])
        with half_where_fast(images.device):
            velocity = model(noised, level, condition, dropped)
        return F.mse_loss(velocity.float(), noise - scaled)

    def check(self, data: Labelled) -> Tensor:
        """The loss of the averaged weights, at fixed levels and noise."""
        images, random = data.floats(), torch.Generator("cpu").manual_seed(0)
        level = (torch.arange(len(images)) + 0.5) / len(images)
        noise = torch.randn(images.shape, generator=random, device="cpu").to(images)
        return self.loss(self.averaged, images, level, noise, self.predict(images))


@dataclass(frozen=True, kw_only=True)
class MatchingPart(Part):
    """The velocity field along which `leap` and `graft` move images, trained on the classifier's half of the images."""

    makes: ClassVar[tuple[str, ...]] = ("matching",)
    needs: ClassVar[tuple[str, ...]] = ("classifier", "judge")
    by_default: ClassVar[bool] = True
    patient: ClassVar[bool] = True
    least: ClassVar[float] = NARROW_COST

    epochs: float = 70.0
    steps: int = 6000  # on a user's images, instead of epochs
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of `VelocityField` that are not defaults

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {"matching": WEIGHT}

    def width(self, context: TrainingContext) -> int:
        """Feature maps of the network: as many as can learn in the time that there is, and more on an accelerator."""
        if self.has_accelerator(context):
            return WIDE
        return USUAL if context.share_of_time("matching", WEIGHT) >= ENOUGH else NARROW

    def has_accelerator(self, context: TrainingContext) -> bool:
        """Whether it is trained on an accelerator, without the limits of a recipe whose bundle must stay small."""
        return context.device.type != "cpu" and context.recipe.by_steps

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        torch.manual_seed(6)
        width = self.width(context)
        sized = {} if width == USUAL else {"width": width}  # the usual one is the network's default
        arguments = {**context.sizes, "classes": context.count, **sized, **self.network}
        longer = LONGER if self.has_accelerator(context) else 1.0
        probabilities = context.probabilities("train")
        fit = MatchingFit(
            context.begun("matching", VelocityField(**arguments)),
            probabilities,
            context.probabilities_of,
            context.split.train,
            epochs=longer * context.length(self.epochs, self.steps),
            batch_size=context.recipe.batch_size,
            seed=6,
        )
        context.fit("matching", fit)
        model = fit.finished()
        model.typical.copy_(mean_confident_output(probabilities, context.present))
        return {"matching": Made(model, arguments)}

    @torch.inference_mode()
    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        """How often classifier and judge recognise the class of images that are drawn from noise."""
        assert isinstance(model, VelocityField)
        labels = torch.tensor(context.present).repeat(-(-DRAWN // len(context.present)))[:DRAWN]
        drawn = draw(model, labels)
        classified = context.probabilities_of(drawn).argmax(dim=1) == labels
        return {
            **recognition(context.bundle.part("judge"), context.split.test, drawn, labels),
            "classifier_recognises": share(classified),
        }

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        kept, real, own = (
            measured[name] for name in ("judge_recognises", "judge_recognises_real", "classifier_recognises")
        )
        drawn = f"the judge recognises {kept:.1%} of the images it draws and {real:.1%} of real ones"
        says = f"{drawn}; the classifier recognises {own:.1%}"
        nothing = is_chance(kept, context.split.test, min(DRAWN, MEASURED_ON))
        useless = "it draws nothing that can be recognised" if nothing else None
        weak = "images of leap and graft will often not be recognised"
        return verdict_on(kept >= 0.85 * real, says, weak, useless=useless)

    def sheet_rows(self, bundle: Bundle, sample: Sample) -> list[tuple[str, Tensor]]:
        model = bundle.part("matching", VelocityField)
        return [("drawn from noise by the velocity field", draw(model, sample.labels))]


def draw(model: VelocityField, labels: Tensor, seed: int = 0) -> Tensor:
    """Images (N, C, H, W) in [0, 1] of the classes `labels` (N,), from random noise."""
    random = torch.Generator().manual_seed(seed)
    shape = (len(labels), model.channels, model.height, model.width)
    noise = torch.randn(shape, generator=random, device="cpu").to(model.typical)

    def of(noise: Tensor, labels: Tensor) -> Tensor:
        ones = torch.ones(len(noise))
        drawn = model.integrate(noise, ones, 0 * ones, model.typical[labels], steps=DRAWING_STEPS, guidance=2 * ones)
        return (drawn / 2 + 0.5).clamp(0, 1)

    return in_batches(of, noise, labels)


def mean_confident_output(probabilities: Tensor, present: Sequence[int]) -> Tensor:
    """Mean probabilities (K, K) of the images of which the classifier is surest, by class; one-hot where it has none.

    Args:
        probabilities: (N, K) of the training images.
        present: the classes that have images.
    """
    found = torch.eye(probabilities.shape[1])
    predicted = probabilities.argmax(dim=1)
    for label in present:
        of_label = probabilities[predicted == label]
        if len(of_label):
            surest = of_label[:, label].topk(max(1, round(CONFIDENT * len(of_label)))).indices
            found[label] = of_label[surest].mean(dim=0)
    return found
