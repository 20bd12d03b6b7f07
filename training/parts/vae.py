"""vae: a variational autoencoder whose decoder is also trained to interpolate realistically between images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...bundles.bundle import Bundle
from ...generative.vae import VAE
from ...images.sets.labelled import Labelled, in_batches
from ..adversary import Discriminator, hinge_loss
from ..context import TrainingContext
from ..elbo import ElboFit
from ..fit import descend, set_learning_rate
from ..measures import LEAST_EXPLAINED, MEASURED_ON, is_chance, recognition, reconstruction, sample_of, verdict_on
from ..part import Made, Measured, Part, Sample, Verdict


class VAEFit(ElboFit[VAE]):
    """ELBO plus an adversarial loss on interpolations between the posteriors of two images.

    Between classes, an ordinary VAE draws blends of two images, and a search that stops at the decision boundary stops
    exactly there. The adversarial term makes the images on the straight line between any two latents look real
    (the idea of Berthelot et al. 2019, ACAI, arXiv 1807.07543, with a GAN's discriminator as critic).

    Args:
        model: the VAE to train.
        beta, likelihood, prelude: as in `ElboFit`.
        adversarial: weight of the adversarial term, in the unit of the bound.
    """

    def __init__(
        self,
        model: VAE,
        data: Labelled,
        *,
        epochs: float = 25,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        beta: float = 1.0,
        adversarial: float = 10.0,
        likelihood: str = "bernoulli",
        prelude: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            model,
            data,
            batch_size=batch_size,
            epochs=epochs,
            beta=beta,
            likelihood=likelihood,
            prelude=prelude,
            seed=seed,
        )
        self.learning_rate = learning_rate
        self.adversarial = adversarial
        channels, *size = data.images.shape[1:]
        self.critic = Discriminator(channels, size)
        self.modules = {"model": model, "average": self.average, "critic": self.critic}
        self.model_optimizer = torch.optim.Adam(model.parameters(), betas=(0.5, 0.99))
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), betas=(0.5, 0.99))
        self.optimizers = {"model": self.model_optimizer, "critic": self.critic_optimizer}

    def step(self, index: int) -> dict[str, Tensor]:
        rate = self.learning_rate * self.cycle(index)
        set_learning_rate(self.model_optimizer, rate)
        set_learning_rate(self.critic_optimizer, 2 * rate)  # Heusel et al. 2017, two time scales
        images, _ = self.batch(index)
        mean, log_variance = self.model.posterior(images)
        sampled = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        if self.in_prelude(index):
            losses = self.elbo(self.model.decoder(sampled), images, mean, log_variance)
        else:
            between = torch.lerp(sampled, sampled.flip(0), torch.rand(len(images), 1)).detach()
            logits = self.model.decoder(torch.cat([sampled, between]))
            drawn = torch.sigmoid(logits[len(images) :])
            critic_loss = hinge_loss(self.critic(images), self.critic(drawn.detach()))
            descend(self.critic_optimizer, critic_loss)
            self.critic.requires_grad_(False)
            losses = self.elbo(logits[: len(images)], images, mean, log_variance)
            losses["adversarial"] = -self.adversarial * self.critic(drawn).mean()
        descend(self.model_optimizer, torch.stack(list(losses.values())).sum())
        self.critic.requires_grad_(True)
        self.average.update_parameters(self.model)
        return losses

    def check(self, data: Labelled) -> Tensor:
        """The negative bound at the posterior means, in nats per image."""
        images = data.floats()
        mean, log_variance = self.averaged.posterior(images)
        return self.negative_elbo(self.averaged.decoder(mean), images, mean, log_variance)


@dataclass(frozen=True, kw_only=True)
class VAEPart(Part):
    """The VAE whose latent space the engine latent searches."""

    makes: ClassVar[tuple[str, ...]] = ("vae",)
    needs: ClassVar[tuple[str, ...]] = ("judge",)
    invalidates: ClassVar[tuple[str, ...]] = ("anchors", "flow", "glam")
    optional: ClassVar[bool] = False

    epochs: float = 12.0
    steps: int = 3000  # on a user's images, instead of epochs
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of `VAE` that differ from its defaults

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {"vae": 7.0}

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        torch.manual_seed(2)
        recipe = context.recipe
        arguments = {**context.sizes, "latents": recipe.latents, **self.network}
        fit = VAEFit(
            context.begun("vae", VAE(**arguments)),
            context.split.train,
            epochs=context.length(self.epochs, self.steps),
            batch_size=recipe.batch_size,
            likelihood=recipe.likelihood,
            prelude=recipe.prelude,
            seed=2,
        )
        context.fit("vae", fit)
        return {"vae": Made(fit.finished(), arguments)}

    @torch.inference_mode()
    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        assert isinstance(model, VAE)
        images, labels = sample_of(context.split.test)
        drawn = in_batches(lambda batch: model.decode(model.encode(batch)), images)
        return {
            **reconstruction(context.split, images, drawn),
            **recognition(context.bundle.part("judge"), context.split.test, drawn, labels),
        }

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        explained, kept, real = (
            measured[name] for name in ("variance_explained", "judge_recognises", "judge_recognises_real")
        )
        variance = f"explains {max(0.0, explained):.0%} of the images' variance"
        says = f"{variance}; the judge recognises {kept:.1%} of the reconstructions and {real:.1%} of the images"
        nothing = explained < LEAST_EXPLAINED or is_chance(kept, context.split.test, MEASURED_ON)
        return verdict_on(
            explained >= 0.75 and kept >= 0.85 * real,
            says,
            "counterfactuals will be blurry",
            useless="it draws nothing that can be recognised" if nothing else None,
        )

    def sheet_rows(self, bundle: Bundle, sample: Sample) -> list[tuple[str, Tensor]]:
        vae = bundle.part("vae", VAE)
        latents = vae.encode(sample.images)
        between = torch.lerp(latents, latents.roll(1, 0), 0.5)
        random = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0), device="cpu").to(latents)
        return [
            ("drawn by the VAE", vae.decode(latents)),
            ("half-way to the left neighbour", vae.decode(between)),
            ("VAE, at random", vae.decode(random)),
        ]
