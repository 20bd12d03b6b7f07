"""Fitting a classifier to labelled images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.augment import Augmentation
from ..data.datasets import Labelled
from ..data.fitting import Fit, descend, one_cycle, set_learning_rate


class ClassifierFit(Fit):
    """Cross-entropy with AdamW on randomly deformed images, optionally with mixup and noise.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K).
        mixup: parameter of the Beta distribution that blends pairs of images and of labels; 0 for none.
            Mixup makes a classifier unsure between classes instead of sure of either
            (Zhang et al. 2018, arXiv 1710.09412; Thulasidasan et al. 2019, arXiv 1905.11001).
        noise: largest standard deviation of the Gaussian noise added to a training image.
        augmentation: how training images are bent.
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
        set_learning_rate(self.optimizer, self.learning_rate * one_cycle(index, self.total_steps))
        images, labels = self.batch(index)
        images = self.augmentation(images)
        if self.noise:
            images = images + torch.randn_like(images) * torch.rand(len(images), 1, 1, 1) * self.noise
        if self.mixup:
            share = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
            other = torch.randperm(len(images))
            logits = self.model(share * images + (1 - share) * images[other])
            loss = share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, labels[other])
        else:
            loss = F.cross_entropy(self.model(images), labels)
        descend(self.optimizer, loss)
        return {"loss": loss.detach()}

    def check(self, data: Labelled) -> Tensor:
        """Cross-entropy, in nats."""
        return F.cross_entropy(self.model(data.floats()), data.labels)


@torch.inference_mode()
def accuracy(model: nn.Module, data: Labelled, batch_size: int = 512) -> float:
    """Share of `data` that `model` classifies as labelled, in [0, 1]; higher is better."""
    model.eval()
    right = sum(int((model(part.floats()).argmax(1) == part.labels).sum()) for part in data.batches(batch_size))
    return right / len(data)
