"""A conditional VAE whose latents are free of the class and whose decoder draws the class it is told."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.datasets import Labelled
from ..data.fitting import descend, one_cycle, set_learning_rate
from .elbo import ElboFit
from .layers import Decoder, Discriminator, Encoder, GaussianPosterior, Size, hinge_loss


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


class ConditionalVAEFit(ElboFit[ConditionalVAE]):
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
    so that the whole line of conditions shows digits and not cross-fades. In a prelude only invariance is asked for.

    Args:
        model: what to fit.
        predictor: what gives the probabilities that are the condition: the explained classifier, or, where asking it
            at every step would be slow, its answers (N, K) for the images of `data`.
        guides: classifiers that supervise the swapped images.
        beta, likelihood, prelude: as in `ElboFit`.
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
        self.predictor = predictor
        self.guides = [guide.eval().requires_grad_(False) for guide in guides]
        self.learning_rate = learning_rate
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
        if isinstance(self.predictor, nn.Module):
            predicted = self.predictor(images)
            probabilities = predicted.softmax(dim=1)
        else:
            predicted, probabilities = None, self.predictor[self.chosen(index)]
        mean, log_variance = self.model.posterior(images)
        sampled = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        guess_loss = F.cross_entropy(self.guesser(sampled.detach()), labels)
        if self.in_prelude(index):
            descend(self.critic_optimizer, guess_loss)
            losses = self.elbo(self.model.decoder(sampled, probabilities), images, mean, log_variance)
        else:
            condition, asked = self._swap(probabilities.detach(), labels)
            logits = self.model.decoder(torch.cat([sampled, sampled]), torch.cat([probabilities, condition]))
            drawn = torch.sigmoid(logits[len(images) :])
            critic_loss = hinge_loss(self.critic(images, labels), self.critic(drawn.detach(), asked))
            descend(self.critic_optimizer, critic_loss + guess_loss)
            self.critic.requires_grad_(False)
            losses = self.elbo(logits[: len(images)], images, mean, log_variance)
            losses |= self._losses_of_swapped(drawn, asked, images, mean.detach())
        # Cross-entropy to the uniform distribution: least when the guesser knows nothing.
        self.guesser.requires_grad_(False)
        losses["invariance"] = -self.invariance * self.guesser(sampled).log_softmax(dim=1).mean()
        if self.joint and predicted is not None:
            losses["prediction"] = self.prediction * F.cross_entropy(predicted, labels)
        descend(self.model_optimizer, torch.stack(list(losses.values())).sum())
        self.guesser.requires_grad_(True)
        self.critic.requires_grad_(True)
        self.average.update_parameters(self.model)
        return losses

    def _swap(self, probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Conditions (N, K) on the way to another class, and the class (N,) that each asks for."""
        count = len(labels)
        others = (self.place[labels] + torch.randint(1, len(self.present), (count,))) % len(self.present)
        targets = self.present[others]
        swapped = F.one_hot(targets, self.classes).float()
        # Half the swaps go all the way, half stop somewhere on the line; near its middle nothing is asked.
        way = torch.rand(count, 1) * 0.8
        way = torch.where(way < 0.4, way, way + 0.2)
        way = torch.where(torch.rand(count, 1) < 0.5, torch.ones_like(way), way)
        return torch.lerp(probabilities, swapped, way), torch.where(way.squeeze(1) > 0.5, targets, labels)

    def _losses_of_swapped(self, drawn: Tensor, asked: Tensor, images: Tensor, latents: Tensor) -> dict[str, Tensor]:
        """Losses of what is drawn (N, C, H, W) from the `latents` (N, D) of `images` as the classes asked for (N,)."""
        seen = drawn + torch.randn_like(drawn) * torch.rand(len(drawn), 1, 1, 1) * self.noise
        guidance = torch.stack([F.cross_entropy(guide(seen), asked) for guide in self.guides]).mean()
        return {
            "guidance": self.guidance * guidance,
            "fooling": -self.adversarial * self.critic(drawn, asked).mean(),
            "style": self.style * (self.model.encode(drawn) - latents).square().sum(dim=1).mean(),
            "nearness": self.nearness * (drawn - images).abs().sum(dim=(1, 2, 3)).mean(),
        }

    def check(self, data: Labelled) -> Tensor:
        """How badly images are drawn under their own label, and the guides' cross-entropy of swapped ones."""
        model, images = self.averaged, data.floats()
        mean, log_variance = model.posterior(images)
        logits = model.decoder(mean, F.one_hot(data.labels, self.classes).float())
        reconstruction = self.elbo(logits, images, mean, log_variance)["reconstruction"]
        asked = self.present[(self.place[data.labels] + 1) % len(self.present)]
        drawn = model.decode(mean, F.one_hot(asked, self.classes).float())
        guidance = torch.stack([F.cross_entropy(guide(drawn), asked) for guide in self.guides]).mean()
        return reconstruction + self.guidance * guidance
