"""flow: a normalizing flow whose encoder and decoder are the VAE's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ...generative.flow import LEVELS, ImageFlow, _Drawing, _Inference
from ...generative.vae import VAE
from ...images.sets.labelled import Labelled, in_batches
from ..context import TrainingContext
from ..fit import Fit, descend, set_learning_rate
from ..measures import MEASURED_ON, sample_of, verdict_on
from ..part import Made, Measured, Part, Verdict


class FlowFit(Fit):
    """Maximum likelihood of base, splines and pixel scales, plus a cross-entropy that separates the classes.

    Encoder and decoder are copied from a trained VAE and frozen: an augmented flow of these two couplings *is* a VAE
    (Huang et al. 2020, section 4), and maximum likelihood alone would make its images less sharp. The cross-entropy
    of the flow's own class posterior separates the classes in the base space (Ardizzone et al. 2020, IB-INN,
    arXiv 2001.06448), so that moving towards a class there draws an image of that class.

    Args:
        model: the flow to train.
        vae: the VAE whose encoder and decoder the couplings use.
        class_weight: weight of the cross-entropy, against the likelihood in nats per image.
    """

    def __init__(
        self,
        model: ImageFlow,
        vae: VAE,
        data: Labelled,
        *,
        epochs: float = 8,
        batch_size: int = 256,
        learning_rate: float = 2e-3,
        class_weight: float = 2.0,
        seed: int = 0,
    ) -> None:
        super().__init__(data, batch_size, epochs, seed)
        self.model = model
        self.learning_rate = learning_rate
        self.class_weight = class_weight
        inference, drawing = model.infer.param_map, model.draw.param_map
        assert isinstance(inference, _Inference) and isinstance(drawing, _Drawing)
        inference.encoder.load_state_dict(vae.encoder.state_dict())
        drawing.decoder.load_state_dict(vae.decoder.state_dict())
        inference.requires_grad_(False)
        drawing.requires_grad_(False)
        with torch.no_grad():  # pixel scales start near the decoder's reconstruction error
            sample = data.floats(slice(0, 4000))
            errors = in_batches(lambda batch: (batch - vae.decode(vae.encode(batch))).flatten(1).square(), sample)
            model.residual.s.copy_(0.5 * (errors.mean(dim=0) + 0.02**2).log())
        self.modules = {"model": model}
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, weight_decay=1e-3)
        self.optimizers = {"model": self.optimizer}

    def step(self, index: int) -> dict[str, Tensor]:
        set_learning_rate(self.optimizer, self.learning_rate * self.cycle(index))
        images, labels = self.batch(index)
        pixels = (images * (LEVELS - 1) + torch.rand_like(images)).flatten(1) / LEVELS
        per_class = self.model.class_log_prob(pixels, torch.randn(len(images), self.model.latents))
        likelihood = per_class.gather(1, labels[:, None]).mean()
        separation = cross_entropy(per_class, labels)
        descend(self.optimizer, self.class_weight * separation - likelihood)
        return {"bits_per_dim": bits_per_dim(likelihood.detach(), pixels.shape[1]), "separation": separation.detach()}

    def check(self, data: Labelled) -> Tensor:
        """Bits per dimension, an upper bound."""
        return bits_per_dim(self.model.log_prob(data.floats()).mean(), data.images[0].numel())


def bits_per_dim(nats: Tensor, dimensions: int) -> Tensor:
    """Converts a log-likelihood of images in [0, 1], in nats, to bits per 8-bit value; lower is better."""
    return math.log2(LEVELS) - nats / (dimensions * math.log(2))


@dataclass(frozen=True, kw_only=True)
class FlowPart(Part):
    """The flow whose base space the engine diffeo searches."""

    makes: ClassVar[tuple[str, ...]] = ("flow",)
    needs: ClassVar[tuple[str, ...]] = ("vae",)
    optional: ClassVar[bool] = False

    epochs: float = 8.0
    steps: int = 1800  # on a user's images, instead of epochs
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of `ImageFlow` that differ from its defaults

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {"flow": 1.5}

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        torch.manual_seed(4)
        recipe = context.recipe
        arguments = {**context.sizes, "classes": context.count, "latents": recipe.latents, **self.network}
        model = context.begun("flow", ImageFlow(**arguments))
        fit = FlowFit(
            model,
            context.bundle.part("vae", VAE),
            context.split.train,
            epochs=context.length(self.epochs, self.steps),
            batch_size=2 * recipe.batch_size,
            seed=4,
        )
        context.fit("flow", fit)
        return {"flow": Made(model, arguments)}

    @torch.inference_mode()
    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        """Bits per dimension of dequantised test images (an upper bound), and the largest round-trip error.

        For comparison, also the bits per dimension of independent Gaussian pixels.
        """
        assert isinstance(model, ImageFlow)
        images, _ = sample_of(context.split.test)
        bits = bits_per_dim(in_batches(model.log_prob, images).mean(), images[0].numel())
        sample = context.split.train.floats(slice(0, MEASURED_ON))
        each = torch.distributions.Normal(sample.mean(dim=0), sample.std(dim=0).clamp(min=1 / 255))
        alone = bits_per_dim(each.log_prob(images).sum(dim=(1, 2, 3)).mean(), images[0].numel())
        worst = float((in_batches(lambda batch: model.decode(model.encode(batch)), images) - images).abs().max())
        return {
            "bits_per_dim": round(float(bits), 4),
            "bits_per_dim_of_single_pixels": round(float(alone), 4),
            "round_trip_error": float(f"{worst:.2g}"),
        }

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        bits, alone = measured["bits_per_dim"], measured["bits_per_dim_of_single_pixels"]
        round_trip = f"round-trip error {measured['round_trip_error']:g}"
        says = f"{bits:.2f} bits per dimension, {alone:.2f} for independent pixels; {round_trip}"
        vae = context.bundle.parts.get("vae")
        if vae is not None and vae.verdict in ("weak", "useless"):
            useless = "so is the VAE that it is built on" if vae.verdict == "useless" else None
            return verdict_on(False, says, "the VAE that it is built on is weak", useless=useless)
        good = bits < alone and measured["round_trip_error"] < 1e-2
        return verdict_on(good, says, "diffeo cannot rely on the flow's prior")
