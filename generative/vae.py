"""A variational autoencoder whose decoder is also trained to draw real-looking images between images."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.datasets import Labelled
from ..data.fitting import Fit, one_cycle, set_learning_rate
from .layers import (
    Decoder,
    Discriminator,
    Encoder,
    GaussianPosterior,
    Size,
    hinge_loss,
    kl_to_standard_normal,
    moving_average,
)


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


class VAEFit(Fit):
    """ELBO plus an adversary that looks at what is drawn *between* the posteriors of two images.

    An ordinary VAE draws ghosts between the classes, and a search that stops at the decision boundary stops
    exactly there. The adversarial term asks for a real-looking image on the straight line between any two
    latents (the idea of Berthelot et al. 2019, ACAI, arXiv 1807.07543, with a GAN's discriminator as critic).

    Args:
        model: what to fit.
        beta: weight of the KL term against the summed binary cross-entropy.
        adversarial: weight of the adversarial term, in nats an image.
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
        seed: int = 0,
    ) -> None:
        super().__init__(data, batch_size, epochs, seed)
        self.model = model
        self.learning_rate = learning_rate
        self.beta = beta
        self.adversarial = adversarial
        channels, *size = data.images.shape[1:]
        self.average = moving_average(model)
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
        between = torch.lerp(sampled, sampled.flip(0), torch.rand(len(images), 1)).detach()
        logits = self.model.decoder(torch.cat([sampled, between]))
        reconstruction = F.binary_cross_entropy_with_logits(logits[: len(images)], images, reduction="none")
        reconstruction = reconstruction.sum(dim=(1, 2, 3)).mean()
        divergence = kl_to_standard_normal(mean, log_variance).mean()
        drawn = torch.sigmoid(logits[len(images) :])

        critic_loss = hinge_loss(self.critic(images), self.critic(drawn.detach()))
        self.critic_optimizer.zero_grad(set_to_none=True)
        critic_loss.backward()
        self.critic_optimizer.step()

        self.critic.requires_grad_(False)
        fooling = -self.critic(drawn).mean()
        loss = reconstruction + self.beta * divergence + self.adversarial * fooling
        self.model_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.model_optimizer.step()
        self.critic.requires_grad_(True)
        self.average.update_parameters(self.model)
        return {
            "reconstruction": reconstruction.detach(),
            "kl": divergence.detach(),
            "critic": critic_loss.detach(),
            "fooling": fooling.detach(),
        }

    def check(self, data: Labelled) -> Tensor:
        """Negative ELBO at the posterior means, in nats an image."""
        model, images = cast(VAE, self.average.module), data.floats()
        mean, log_variance = model.posterior(images)
        reconstruction = F.binary_cross_entropy_with_logits(model.decoder(mean), images, reduction="none")
        divergence = kl_to_standard_normal(mean, log_variance).mean()
        return reconstruction.sum(dim=(1, 2, 3)).mean() + self.beta * divergence

    def finished(self) -> VAE:
        """The averaged weights, which draw more steadily than the last ones."""
        self.model.load_state_dict(self.average.module.state_dict())
        return self.model.eval()
