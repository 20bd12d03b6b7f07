"""conditional_vae: a conditional VAE with class-free latents, trained on swapped conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...bundles.bundle import Bundle
from ...classifiers.convolutional import ConvNet
from ...generative.conditional_vae import ConditionalVAE
from ...images.sets.labelled import Labelled, in_batches
from ..adversary import Discriminator, hinge_loss
from ..classifier_fit import train_classifier
from ..context import TrainingContext
from ..elbo import ElboFit
from ..fit import descend, set_learning_rate
from ..measures import (
    LEAST_EXPLAINED,
    MEASURED_ON,
    is_chance,
    next_class,
    reconstruction,
    sample_of,
    share,
    verdict_on,
)
from ..part import Made, Measured, Part, Sample, Verdict


class ConditionalVAEFit(ElboFit[ConditionalVAE]):
    """ELBO, a class adversary on the latents, and training on swapped conditions.

    A plain conditional VAE ignores its condition, because the latent carries the class. Five loss terms are added,
    none of which VCNet has, with the names of their weights:

    - *invariance*: a small network predicts the class from the latent, and the encoder is trained to make it predict
      at random (Lample et al. 2017, Fader Networks, arXiv 1706.00409);
    - *guidance*: an image drawn with another class as condition must be classified as that class by `guides`, which are
      neither the explained classifier nor a judge. They see it with noise, so that single pixels do not convince them;
    - *adversarial*: a projection discriminator must take it for a real image of that class;
    - *style*: encoding it again must give the latent it was drawn from;
    - *nearness*: it should change few pixels.

    Interpolated conditions are trained too, with the class of the larger weight as target, so that images along the
    line between two classes look like real images and not like blends. The prelude trains with invariance alone.

    Args:
        model: the conditional VAE to train.
        predictor: gives the probabilities that are the condition: the explained classifier, or its precomputed
            probabilities (N, K) of the images of `data` if running it at every step would be slow.
        guides: classifiers that supervise the swapped images.
        beta, likelihood, prelude: as in `ElboFit`.
        joint: also train `predictor`, in the same loss; otherwise it is frozen.
        present: (P,) the classes that have images, the only targets of swapped conditions. All, if None.
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
        # The classes present, and the index of each class among them.
        self.present = torch.arange(self.classes) if present is None else present
        self.place = torch.zeros(self.classes, dtype=torch.int64)
        self.place[self.present] = torch.arange(len(self.present))
        self.model_optimizer = torch.optim.Adam(trained, betas=(0.5, 0.99))
        self.critic_optimizer = torch.optim.Adam(
            [*self.critic.parameters(), *self.guesser.parameters()], betas=(0.5, 0.99)
        )
        self.optimizers = {"model": self.model_optimizer, "critic": self.critic_optimizer}

    def step(self, index: int) -> dict[str, Tensor]:
        rate = self.learning_rate * self.cycle(index)
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
        # Cross-entropy to the uniform distribution: minimal when the guesser predicts at random.
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
        """Conditions (N, K) on the line to another class, and the target class (N,) of each."""
        count = len(labels)
        others = (self.place[labels] + torch.randint(1, len(self.present), (count,))) % len(self.present)
        targets = self.present[others]
        swapped = F.one_hot(targets, self.classes).float()
        # Half of the swaps reach the other class, half stop on the line, but not near its middle.
        way = torch.rand(count, 1) * 0.8
        way = torch.where(way < 0.4, way, way + 0.2)
        way = torch.where(torch.rand(count, 1) < 0.5, torch.ones_like(way), way)
        return torch.lerp(probabilities, swapped, way), torch.where(way.squeeze(1) > 0.5, targets, labels)

    def _losses_of_swapped(self, drawn: Tensor, asked: Tensor, images: Tensor, latents: Tensor) -> dict[str, Tensor]:
        """Losses of images `drawn` (N, C, H, W) from the `latents` (N, D) of `images`, with target classes (N,)."""
        seen = drawn + torch.randn_like(drawn) * torch.rand(len(drawn), 1, 1, 1) * self.noise
        guidance = torch.stack([F.cross_entropy(guide(seen), asked) for guide in self.guides]).mean()
        return {
            "guidance": self.guidance * guidance,
            "adversarial": -self.adversarial * self.critic(drawn, asked).mean(),
            "style": self.style * (self.model.encode(drawn) - latents).square().sum(dim=1).mean(),
            "nearness": self.nearness * (drawn - images).abs().sum(dim=(1, 2, 3)).mean(),
        }

    def check(self, data: Labelled) -> Tensor:
        """Reconstruction loss under the images' own labels, plus the guides' cross-entropy on swapped ones."""
        model, images = self.averaged, data.floats()
        mean, log_variance = model.posterior(images)
        logits = model.decoder(mean, F.one_hot(data.labels, self.classes).float())
        reconstruction = self.elbo(logits, images, mean, log_variance)["reconstruction"]
        asked = self.present[(self.place[data.labels] + 1) % len(self.present)]
        drawn = model.decode(mean, F.one_hot(asked, self.classes).float())
        guidance = torch.stack([F.cross_entropy(guide(drawn), asked) for guide in self.guides]).mean()
        return reconstruction + self.guidance * guidance


@dataclass(frozen=True, kw_only=True)
class ConditionalVAEPart(Part):
    """The conditional VAE, trained on the explained classifier's probabilities with two small guides."""

    makes: ClassVar[tuple[str, ...]] = ("conditional_vae",)
    needs: ClassVar[tuple[str, ...]] = ("classifier", "judge")
    optional: ClassVar[bool] = False

    epochs: float = 16.0
    steps: int = 3500  # on a user's images, instead of epochs
    network: Mapping[str, Any] = field(default_factory=dict)  # arguments of `ConditionalVAE` that are not defaults
    guides: tuple[int, ...] = (12, 20)  # widths of the classifiers that supervise it
    guide_epochs: float = 5.0
    guide_steps: int = 800

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        guides = {f"conditional_vae-guide-{place}": 1.5 / len(self.guides) for place in range(len(self.guides))}
        return {**guides, "conditional_vae": 10.0}

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        return {"conditional_vae": self.train(context, context.probabilities("train"))}

    def train(self, context: TrainingContext, predictor: nn.Module | Tensor, *, joint: bool = False) -> Made:
        """Train the guides, then the conditional VAE on the predictor's probabilities.

        Args:
            context: of the bundle.
            predictor, joint: as in `ConditionalVAEFit`.
        """
        recipe = context.recipe
        guides: list[nn.Module] = []
        for place, width in enumerate(self.guides):
            torch.manual_seed(10 + place)
            guide = ConvNet(**context.sizes, classes=context.count, width=width, **context.pixels)
            train_classifier(
                context,
                guide,
                f"conditional_vae-guide-{place}",
                epochs=context.length(self.guide_epochs, self.guide_steps),
                seed=10 + place,
                noise=2 * recipe.noise,
                mixup=0.2 * place,
            )
            guides.append(guide)
        torch.manual_seed(3)
        arguments = {**context.sizes, "classes": context.count, "latents": recipe.latents, **self.network}
        fit = ConditionalVAEFit(
            context.begun("conditional_vae", ConditionalVAE(**arguments)),
            predictor,
            guides,
            context.split.train,
            epochs=context.length(self.epochs, self.steps),
            batch_size=recipe.batch_size,
            likelihood=recipe.likelihood,
            prelude=recipe.prelude,
            joint=joint,
            present=torch.tensor(context.present),
            seed=3,
        )
        context.fit("conditional_vae", fit)
        return Made(fit.finished(), arguments)

    @torch.inference_mode()
    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        """Reconstruction, and how often the judge recognises the class of a swapped condition."""
        assert isinstance(model, ConditionalVAE)
        images, labels = sample_of(context.split.test)
        latents = in_batches(model.encode, images)
        drawn = in_batches(model.decode, latents, context.probabilities("test", len(images)))
        asked = next_class(labels, context.present)
        swapped = in_batches(model.decode, latents, F.one_hot(asked, context.count).float())
        seen = in_batches(context.bundle.part("judge"), swapped).argmax(dim=1) == asked
        return {**reconstruction(context.split, images, drawn), "judge_sees_swap": share(seen)}

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        explained, seen = measured["variance_explained"], measured["judge_sees_swap"]
        variance = f"explains {max(0.0, explained):.0%} of the images' variance"
        says = f"{variance}; the judge recognises {seen:.1%} of the images drawn as another class"
        why = "vcnet and projection will often miss the target" if seen < 0.7 else "counterfactuals will be blurry"
        nothing = explained < LEAST_EXPLAINED or is_chance(seen, context.split.test, MEASURED_ON)
        useless = "it draws nothing that can be recognised" if nothing else None
        return verdict_on(explained >= 0.6 and seen >= 0.7, says, why, useless=useless)

    def sheet_rows(self, bundle: Bundle, sample: Sample) -> list[tuple[str, Tensor]]:
        model = bundle.part("conditional_vae", ConditionalVAE)
        latents, asked = model.encode(sample.images), next_class(sample.labels, sample.present)
        swapped = model.decode(latents, F.one_hot(asked, sample.probabilities.shape[1]).float())
        return [
            ("drawn by the conditional VAE", model.decode(latents, sample.probabilities)),
            ("told the next class", swapped),
        ]
