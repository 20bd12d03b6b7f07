"""glam: translations in the VAE's latent space, from images of which the classifier is unsure to surer ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...classifiers.introspection.uncertainty import entropy
from ...generative.translations import LatentTranslations
from ...generative.vae import VAE
from ...images.sets.labelled import Labelled, in_batches
from ..context import TrainingContext
from ..fit import Fit, descend, set_learning_rate
from ..measures import share, verdict_on
from ..part import Made, Measured, Part, Verdict

UNSURE = 0.1  # share of the images of a class, those of which the classifier is least sure
SURE = 0.5  # share of them of which it is surest
MAX_IMAGES_OF_CLASS = 400  # images of a class in either group
CONFIDENT = 0.9
LEAST_SURE = 0.5  # share of unsure test images that a good translation makes sure


class TranslationFit(Fit):
    """Minimises the classifier's cross-entropy of translated images with the class, plus the translation's length.

    Args:
        model: the translations.
        decode: latents (N, D) -> images that the classifier takes.
        classify: those images -> logits of the labels (N, L).
        data: images of which the classifier is unsure, with the class that it sees.
        latents: (N, D) of these images.
        present: the classes that have images.
        length_weight: nats for the L2 norm of a translation.
    """

    def __init__(
        self,
        model: LatentTranslations,
        decode: Callable[[Tensor], Tensor],
        classify: Callable[[Tensor], Tensor],
        data: Labelled,
        latents: Tensor,
        present: Sequence[int],
        *,
        epochs: float,
        batch_size: int = 128,
        learning_rate: float = 0.05,
        length_weight: float = 0.02,
        seed: int = 0,
    ) -> None:
        super().__init__(data, batch_size, epochs, seed)
        self.model, self.decode, self.classify = model, decode, classify
        self.latents, self.present = latents, torch.tensor(present)
        self.learning_rate, self.length_weight = learning_rate, length_weight
        self.modules = {"model": model}
        self.optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
        self.optimizers = {"model": self.optimizer}

    def step(self, index: int) -> dict[str, Tensor]:
        set_learning_rate(self.optimizer, self.learning_rate * self.cycle(index))
        chosen = self.chosen(index)
        latents, unsure = self.latents[chosen], self.data.labels[chosen]
        other = self.present[torch.randint(len(self.present), (len(chosen),))]
        sure = torch.where(torch.rand(len(chosen)) < 0.5, unsure, other)  # half of them stay what they are
        moved = self.model(latents, unsure, sure)
        loss = F.cross_entropy(self.classify(self.decode(moved)), sure)
        length = (moved - latents).norm(dim=1).mean()
        descend(self.optimizer, loss + self.length_weight * length)
        return {"loss": loss.detach(), "length": length.detach()}


@dataclass(frozen=True, kw_only=True)
class GlamPart(Part):
    """One translation for each pair of classes: it starts as the difference of the groups' means, and is then trained.

    A black box has no gradients to train with, and keeps the difference of the means.
    """

    makes: ClassVar[tuple[str, ...]] = ("glam",)
    needs: ClassVar[tuple[str, ...]] = ("classifier", "vae")
    in_trial: ClassVar[bool] = False

    epochs: float = 10.0
    steps: int = 300  # on a user's images, instead of epochs

    def fits(self, present: Sequence[int]) -> Mapping[str, float]:
        return {"glam": 0.5}

    def make(self, context: TrainingContext) -> Mapping[str, Made]:
        torch.manual_seed(60)
        bundle, vae = context.bundle, context.bundle.part("vae", VAE)
        probabilities, images = context.probabilities("train"), context.split.train
        arguments: dict[str, object] = {"classes": context.count, "latents": context.recipe.latents}
        model = LatentTranslations(context.count, context.recipe.latents).to(context.device)
        unsure, sure = groups(probabilities, context.present)
        means = {label: latents_of(vae, images, rows).mean(dim=0) for label, rows in sure.items()}
        starts = {label: latents_of(vae, images, rows) for label, rows in unsure.items()}
        with torch.no_grad():
            for own, latents in starts.items():
                for other, mean in means.items():
                    model.vectors[own, other] = mean - latents.mean(dim=0)
        rows = torch.cat([unsure[label] for label in starts])
        seen = torch.cat([torch.full((len(unsure[label]),), label) for label in starts])
        if bundle.differentiable:
            classifier = bundle.classifier

            def classify(drawn: Tensor) -> Tensor:
                return bundle.labelling.condition(classifier(bundle.enlarge(drawn)).softmax(dim=1)).clamp(1e-9).log()

            fit = TranslationFit(
                model,
                vae.decode,
                classify,
                Labelled(images.images[rows], seen),
                torch.cat([*starts.values()]),
                context.present,
                epochs=context.recipe.length(self.epochs, self.steps, len(rows)),
                batch_size=context.recipe.batch_size,
                seed=60,
            )
            context.fit("glam", fit, checked=False)
        return {"glam": Made(model, arguments)}

    @torch.inference_mode()
    def measure(self, context: TrainingContext, name: str, model: nn.Module) -> Measured:
        """How many unsure test images a translation makes sure, and the entropy before and after."""
        assert isinstance(model, LatentTranslations)
        vae, images = context.bundle.part("vae", VAE), context.split.test
        probabilities = context.probabilities("test")
        unsure, _ = groups(probabilities, context.present)
        rows = torch.cat([*unsure.values()])
        seen = probabilities[rows].argmax(dim=1)
        moved = in_batches(vae.decode, model(latents_of(vae, images, rows), seen, seen))
        after = context.probabilities_of(moved)
        return {
            "certain": share(after.amax(dim=1) >= CONFIDENT),
            "entropy_before": round(float(entropy(probabilities[rows]).mean()), 4),
            "entropy_after": round(float(entropy(after).mean()), 4),
        }

    def verdict(self, context: TrainingContext, name: str, measured: Measured) -> Verdict | None:
        certain, before, after = (measured[name] for name in ("certain", "entropy_before", "entropy_after"))
        says = f"makes {certain:.1%} of unsure test images sure; entropy {before:.2f} to {after:.2f} nats"
        useless = "the classifier is no surer of what it draws" if after >= before else None
        return verdict_on(certain >= LEAST_SURE, says, "glam-clue will often fail", useless=useless)


def groups(probabilities: Tensor, present: Sequence[int]) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """The rows of images of which the classifier is least and most sure, by the class that it sees in them.

    Args:
        probabilities: (N, L) of the images.
        present: the classes that have images; one that the classifier sees in fewer than two is in neither group.
    """
    confidence, predicted = probabilities.max(dim=1)
    unsure: dict[int, Tensor] = {}
    sure: dict[int, Tensor] = {}
    for label in present:
        rows = (predicted == label).nonzero().flatten()
        if len(rows) < 2:
            continue
        order = rows[confidence[rows].argsort()]
        unsure[label] = order[: max(1, min(MAX_IMAGES_OF_CLASS, round(UNSURE * len(rows))))]
        sure[label] = order[-max(1, min(MAX_IMAGES_OF_CLASS, round(SURE * len(rows)))) :]
    return unsure, sure


@torch.no_grad()
def latents_of(vae: VAE, images: Labelled, rows: Tensor) -> Tensor:
    """The latents (M, D) of some images."""
    return in_batches(vae.encode, images.floats(rows))
