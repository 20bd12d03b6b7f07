"""A variational autoencoder whose decoder is also trained to draw real-looking images between images."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data.datasets import Labelled
from ..data.fitting import descend, one_cycle, set_learning_rate
from .elbo import ElboFit
from .layers import Decoder, Discriminator, Encoder, GaussianPosterior, Size, hinge_loss


class VAE(GaussianPosterior):
    """Variational autoencoder (Kingma and Welling 2014, arXiv 1312.6114): `GenerativeModel`.

    Args:
        channels: colours of an image.
        size: height and width of an image in pixels, or the side of a square one.
        latents: dimension of the latent space.
        normed: whether convolutions are followed by group norms.
    """

    def __init__(self, channels: int = 1, size: Size = 28, latents: int = 32, normed: bool = False) -> None:
        super().__init__()
        self.encoder = Encoder(channels, size, 2 * latents, normed=normed)
        self.decoder = Decoder(channels, size, latents, normed=normed)

    def decode(self, latents: Tensor) -> Tensor:
        """latents (N, D) -> images (N, C, H, W) in [0, 1]."""
        return torch.sigmoid(self.decoder(latents))


class VAEFit(ElboFit[VAE]):
    """ELBO plus an adversary that looks at what is drawn *between* the posteriors of two images.

    An ordinary VAE draws ghosts between the classes, and a search that stops at the decision boundary stops
    exactly there. The adversarial term asks for a real-looking image on the straight line between any two
    latents (the idea of Berthelot et al. 2019, ACAI, arXiv 1807.07543, with a GAN's discriminator as critic).

    Args:
        model: what to fit.
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
        rate = self.learning_rate * one_cycle(index, self.total_steps)
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
            losses["fooling"] = -self.adversarial * self.critic(drawn).mean()
        descend(self.model_optimizer, torch.stack(list(losses.values())).sum())
        self.critic.requires_grad_(True)
        self.average.update_parameters(self.model)
        return losses

    def check(self, data: Labelled) -> Tensor:
        """The negative bound at the posterior means, in nats an image."""
        images = data.floats()
        mean, log_variance = self.averaged.posterior(images)
        return self.negative_elbo(self.averaged.decoder(mean), images, mean, log_variance)
