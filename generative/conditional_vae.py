"""A conditional VAE whose latents are free of the class and whose decoder draws the class it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class ConditionalVAE(GaussianPosterior):
    """Encoder to class-free latents, decoder conditioned on class probabilities: `ConditionalModel`.

    The generator of VCNet (Guyomard et al. 2022, arXiv 2212.10847), ported to images: the condition is the
    vector of K probabilities that the explained classifier gives, and it reaches every layer of the decoder.

    Args:
        channels: colours of an image.
        size: height and width of an image in pixels, or the side of a square one.
        classes: number of classes K.
        latents: dimension of the latent space.
        normed: whether convolutions are followed by group norms.
    """

    def __init__(
        self, channels: int = 1, size: Size = 28, classes: int = 10, latents: int = 32, normed: bool = False
    ) -> None:
        super().__init__()
        self.classes = classes
        self.latents = latents
        self.encoder = Encoder(channels, size, 2 * latents, normed=normed)
        self.decoder = Decoder(channels, size, latents, conditions=classes, normed=normed)

    def decode(self, latents: Tensor, condition: Tensor) -> Tensor:
        """latents (N, D), class probabilities (N, K) -> images (N, C, H, W) in [0, 1]."""
        return torch.sigmoid(self.decoder(latents, condition))


class ConditionalVAEFit(Fit):
    """ELBO, a class adversary on the latents, and training on swapped conditions.

    A plain conditional VAE ignores its condition, because the latent carries the class. Five terms cure that:

    - *invariance*: a small network guesses the class from the latent, the encoder makes it guess at random
      (Lample et al. 2017, Fader Networks, arXiv 1706.00409);
    - *swap*: the image drawn with another class as condition must be of that class for `guides`, classifiers
      that are neither the explained one nor a judge, looking through noise so that dots do not convince them;
    - *realism*: a projection discriminator must take it for a real image of that class;
    - *style*: encoding it again must give the latent it was drawn from;
    - *nearness*: it should change few pixels.

    Conditions between two classes are drawn too, and asked to be a real image of the class that weighs more,
    so that the whole line of conditions shows digits and not cross-fades.

    Args:
        model: what to fit.
        predictor: what gives the probabilities that are the condition: the explained classifier, or, where asking it
            at every step would be slow, its answers (N, K) for the images of `data`.
        guides: classifiers that supervise the swapped images.
        joint: also train `predictor`, in the same loss, as VCNet's paper does; otherwise it is frozen.
        present: (P,) the classes that have images; swapped conditions ask for no others. All, if None.
    """

    def __init__(
        self,
        model: ConditionalVAE,
        predictor: nn.Module | Tensor,
        guides: Sequence[nn.Module],
        data: Labelled,
        *,
        epochs: float = 30,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        beta: float = 1.0,
        invariance: float = 20.0,
        guidance: float = 10.0,
        adversarial: float = 10.0,
        style: float = 3.0,
        nearness: float = 0.1,
        noise: float = 0.15,
        joint: bool = False,
        prediction: float = 50.0,
        present: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(data, batch_size, epochs, seed)
        self.model = model
        self.predictor = predictor
        self.guides = [guide.eval().requires_grad_(False) for guide in guides]
        self.learning_rate = learning_rate
        self.beta = beta
        self.invariance = invariance
        self.guidance = guidance
        self.adversarial = adversarial
        self.style = style
        self.nearness = nearness
        self.noise = noise
        self.joint = joint
        self.prediction = prediction
        channels, *size = data.images.shape[1:]
        self.classes = model.classes
        self.average = moving_average(model)
        self.critic = Discriminator(channels, size, self.classes)
        self.guesser = nn.Sequential(
            nn.Linear(model.latents, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2),
            nn.Linear(128, self.classes),
        )  # fmt: skip
        self.modules = {
            "model": model, "average": self.average, "critic": self.critic, "guesser": self.guesser,
        }  # fmt: skip
        trained = list(model.parameters())
        if isinstance(predictor, nn.Module):
            if joint:
                self.modules["predictor"] = predictor
                trained += list(predictor.parameters())
            else:
                predictor.eval().requires_grad_(False)
        # The place of each class among those present, and the class at each place.
        self.present = torch.arange(self.classes) if present is None else present
        self.place = torch.zeros(self.classes, dtype=torch.int64)
        self.place[self.present] = torch.arange(len(self.present))
        self.model_optimizer = torch.optim.Adam(trained, betas=(0.5, 0.99))
        self.critic_optimizer = torch.optim.Adam(
            [*self.critic.parameters(), *self.guesser.parameters()], betas=(0.5, 0.99)
        )
        self.optimizers = {"model": self.model_optimizer, "critic": self.critic_optimizer}

    def step(self, index: int) -> dict[str, Tensor]:
        rate = self.learning_rate * one_cycle(index, self.total_steps)
        set_learning_rate(self.model_optimizer, rate)
        set_learning_rate(self.critic_optimizer, rate)
        images, labels = self.batch(index)
        count = len(images)
        if isinstance(self.predictor, nn.Module):
            predicted = self.predictor(images)
            probabilities = predicted.softmax(dim=1)
        else:
            predicted, probabilities = None, self.predictor[self.chosen(index)]
        mean, log_variance = self.model.posterior(images)
        sampled = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()

        others = (self.place[labels] + torch.randint(1, len(self.present), (count,))) % len(self.present)
        targets = self.present[others]
        swapped = F.one_hot(targets, self.classes).float()
        # Half the swaps go all the way, half stop somewhere on the line; near its middle nothing is asked.
        way = torch.rand(count, 1) * 0.8
        way = torch.where(way < 0.4, way, way + 0.2)
        way = torch.where(torch.rand(count, 1) < 0.5, torch.ones_like(way), way)
        condition = torch.lerp(probabilities.detach(), swapped, way)
        asked = torch.where(way.squeeze(1) > 0.5, targets, labels)

        logits = self.model.decoder(torch.cat([sampled, sampled]), torch.cat([probabilities, condition]))
        drawn = torch.sigmoid(logits[count:])
        critic_loss = hinge_loss(self.critic(images, labels), self.critic(drawn.detach(), asked))
        guess_loss = F.cross_entropy(self.guesser(sampled.detach()), labels)
        self.critic_optimizer.zero_grad(set_to_none=True)
        (critic_loss + guess_loss).backward()
        self.critic_optimizer.step()

        self.critic.requires_grad_(False)
        self.guesser.requires_grad_(False)
        reconstruction = F.binary_cross_entropy_with_logits(logits[:count], images, reduction="none")
        divergence = kl_to_standard_normal(mean, log_variance).mean()
        # Cross-entropy to the uniform distribution: least when the guesser knows nothing.
        invariance = -self.guesser(sampled).log_softmax(dim=1).mean()
        seen = drawn + torch.randn_like(drawn) * torch.rand(count, 1, 1, 1) * self.noise
        guidance = torch.stack([F.cross_entropy(guide(seen), asked) for guide in self.guides]).mean()
        fooling = -self.critic(drawn, asked).mean()
        style = (self.model.encode(drawn) - mean.detach()).square().sum(dim=1).mean()
        nearness = (drawn - images).abs().sum(dim=(1, 2, 3)).mean()
        losses = {
            "reconstruction": reconstruction.sum(dim=(1, 2, 3)).mean(),
            "kl": self.beta * divergence,
            "invariance": self.invariance * invariance,
            "guidance": self.guidance * guidance,
            "fooling": self.adversarial * fooling,
            "style": self.style * style,
            "nearness": self.nearness * nearness,
        }
        if self.joint and predicted is not None:
            losses["prediction"] = self.prediction * F.cross_entropy(predicted, labels)
        self.model_optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        self.model_optimizer.step()
        self.critic.requires_grad_(True)
        self.guesser.requires_grad_(True)
        self.average.update_parameters(self.model)
        return {name: loss.detach() for name, loss in losses.items()} | {"critic": critic_loss.detach()}

    def check(self, data: Labelled) -> Tensor:
        """Cross-entropy of reconstructions under their own label plus the guides' of swapped ones, in nats an image."""
        model, images = cast(ConditionalVAE, self.average.module), data.floats()
        latents = model.encode(images)
        logits = model.decoder(latents, F.one_hot(data.labels, self.classes).float())
        reconstruction = F.binary_cross_entropy_with_logits(logits, images, reduction="none").sum(dim=(1, 2, 3)).mean()
        asked = self.present[(self.place[data.labels] + 1) % len(self.present)]
        drawn = model.decode(latents, F.one_hot(asked, self.classes).float())
        guidance = torch.stack([F.cross_entropy(guide(drawn), asked) for guide in self.guides]).mean()
        return reconstruction + self.guidance * guidance

    def finished(self) -> ConditionalVAE:
        """The averaged weights, which draw more steadily than the last ones."""
        self.model.load_state_dict(self.average.module.state_dict())
        return self.model.eval()
