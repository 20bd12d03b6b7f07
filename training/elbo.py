"""Base class of the VAE's and the conditional VAE's fits: the evidence lower bound and averaged weights."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import unknown_name
from ..generative.layers import GaussianPosterior
from ..images.sets.labelled import Labelled
from .averaging import AveragedFit

LIKELIHOODS = ("bernoulli", "gaussian")

Model = TypeVar("Model", bound=GaussianPosterior)


class ElboFit(AveragedFit[Model]):
    """Trains an autoencoder with a Gaussian posterior; adversarial losses may start after a prelude.

    Args:
        model: the model to train.
        beta: weight of the KL term against the likelihood.
        likelihood: of pixels. "bernoulli" (binary cross-entropy) suits images that are nearly black and white; on grey
            and coloured images it hardly penalises blur. "gaussian" uses the batch's mean squared error as its variance
            and so keeps penalising blur (sigma-VAE: Rybkin, Daniilidis and Levine 2021, arXiv 2006.13202).
        prelude: share of the steps, at the start, that train reconstruction without the slower losses, such as the
            critic's.

    Raises:
        UsageError: the likelihood is unknown.
    """

    def __init__(
        self,
        model: Model,
        data: Labelled,
        *,
        batch_size: int,
        epochs: float,
        beta: float,
        likelihood: str,
        prelude: float,
        seed: int,
    ) -> None:
        super().__init__(model, data, batch_size, epochs, seed)
        if likelihood not in LIKELIHOODS:
            raise unknown_name("likelihood", likelihood, LIKELIHOODS)
        self.beta = beta
        self.likelihood = likelihood
        self.prelude = prelude

    def elbo(self, logits: Tensor, images: Tensor, mean: Tensor, log_variance: Tensor) -> dict[str, Tensor]:
        """The two terms of the bound for images (N, C, H, W) reconstructed as `logits`, each a mean over images.

        The unit is nats for "bernoulli" and 1 / (4 v) nats for "gaussian" with variance v. In that unit a squared error
        weighs as much as in the cross-entropy at mid grey, so the other loss terms keep their weights.
        """
        divergence = self.beta * kl_to_standard_normal(mean, log_variance).mean()
        if self.likelihood == "bernoulli":
            entropy = F.binary_cross_entropy_with_logits(logits, images, reduction="none")
            return {"reconstruction": entropy.sum(dim=(1, 2, 3)).mean(), "kl": divergence}
        error = (torch.sigmoid(logits) - images).square().sum(dim=(1, 2, 3)).mean()
        variance = error.detach() / images[0].numel()
        return {"reconstruction": 2 * error, "kl": 4 * variance * divergence}

    def negative_elbo(self, logits: Tensor, images: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """The negative bound, in nats per image up to a constant; comparable between training runs."""
        losses = self.elbo(logits, images, mean, log_variance)
        if self.likelihood == "bernoulli":
            return losses["reconstruction"] + losses["kl"]
        size = images[0].numel()
        variance = losses["reconstruction"] / (2 * size)
        return size / 2 * variance.log() + losses["kl"] / (4 * variance)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)), in nats per image, (N,)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
