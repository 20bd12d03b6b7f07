"""Training a classifier on labelled images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..images.sets.labelled import Labelled
from .augment import Augmentation
from .context import TrainingContext
from .fit import Fit, descend, set_learning_rate

RIGHT = 0.99  # share of held-out images; who is right on more has better things to do with the rest of the time


class ClassifierFit(Fit):
    """Cross-entropy with AdamW on randomly deformed images, optionally with mixup and noise.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K).
        mixup: parameter of the Beta distribution that blends pairs of images and of labels; 0 for none.
            Mixup lowers a classifier's confidence between classes
            (Zhang et al. 2018, arXiv 1710.09412; Thulasidasan et al. 2019, arXiv 1905.11001).
        noise: largest standard deviation of the Gaussian noise added to a training image.
        augmentation: random deformation of training images.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Labelled,
        *,
        epochs: float = 16,
        batch_size: int = 128,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.02,
        mixup: float = 0.0,
        noise: float = 0.0,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(data, batch_size, epochs, seed)
        self.model = model
        self.learning_rate = learning_rate
        self.mixup = mixup
        self.noise = noise
        self.augmentation = augmentation or Augmentation()
        self.modules = {"model": model}
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
        self.optimizers = {"model": self.optimizer}

    def step(self, index: int) -> dict[str, Tensor]:
        set_learning_rate(self.optimizer, self.learning_rate * self.cycle(index))
        images, labels = self.batch(index)
        if self.noise:
            images = images + torch.randn_like(images) * torch.rand(len(images), 1, 1, 1) * self.noise
        images = self.hardened(images, labels, index)
        if self.mixup:
            share = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
            other = torch.randperm(len(images))
            logits = self.model(share * images + (1 - share) * images[other])
            loss = share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, labels[other])
        else:
            loss = F.cross_entropy(self.model(images), labels)
        descend(self.optimizer, loss)
        return {"loss": loss.detach()}

    def hardened(self, images: Tensor, labels: Tensor, index: int) -> Tensor:
        """The images (N, C, H, W) of step `index` as the model learns from them; unchanged here."""
        return images

    def check(self, data: Labelled) -> Tensor:
        """Cross-entropy, in nats."""
        return F.cross_entropy(self.model(data.floats()), data.labels)

    def has_learned(self, data: Labelled) -> bool:
        """Whether nearly all held-out images are classified correctly."""
        right = sum(int((self.model(some.floats()).argmax(dim=1) == some.labels).sum()) for some in data.batches(250))
        return right >= RIGHT * len(data)


def train_classifier(
    context: TrainingContext,
    model: nn.Module,
    label: str,
    *,
    epochs: float,
    seed: int,
    judges: bool = False,
    noise: float | None = None,
    mixup: float | None = None,
    augmentation: Augmentation | None = None,
) -> None:
    """Train a classifier on the judges' images without mixup, or on the explained classifier's with the recipe's mixup.

    Mixup makes the explained classifier uncertain on images that are ambiguous to people; see the README.

    Args:
        context: of the bundle.
        model: the classifier.
        label: of the fit.
        epochs: passes over the data.
        seed: of order, deformations, mixup and noise.
        judges: train on the judges' images.
        noise: as in `ClassifierFit`; the recipe's, if None.
        mixup: as in `ClassifierFit`; if None, the recipe's, and 0 for judges.
        augmentation: as in `ClassifierFit`; the recipe's, if None.
    """
    recipe = context.recipe
    if mixup is None:
        mixup = 0.0 if judges else recipe.mixup
    fit = ClassifierFit(
        model,
        context.split.judge_train if judges else context.split.train,
        epochs=epochs,
        batch_size=recipe.batch_size,
        augmentation=augmentation or recipe.augmentation,
        noise=recipe.noise if noise is None else noise,
        mixup=mixup,
        seed=seed,
    )
    context.fit(label, fit, judges=judges)
