"""What the fits of the VAE and the conditional VAE have in common: the evidence lower bound and averaged weights."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..errors import unknown_name
from ..generative.layers import GaussianPosterior
from ..images.sets.labelled import Labelled
from .fit import Fit

LIKELIHOODS = ("bernoulli", "gaussian")

Model = TypeVar("Model", bound=GaussianPosterior)


class ElboFit(Fit, Generic[Model]):
    """A fit of an autoencoder with a Gaussian posterior, whose adversaries may set in after a prelude.

    Args:
        model: what to fit.
        beta: weight of the KL term against the likelihood.
        likelihood: of pixels. "bernoulli", by their binary cross-entropy, suits images that are nearly black and white;
            among greys and colours it hardly minds a blur. "gaussian" has the batch's own mean squared error as its
            variance, so that a blur is never cheap (sigma-VAE: Rybkin, Daniilidis and Levine 2021, arXiv 2006.13202).
        prelude: share of the steps that the model learns to draw in, before its critic and what else is slow set in.

    Raises:
        UsageError: no such likelihood.
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
        super().__init__(data, batch_size, epochs, seed)
        if likelihood not in LIKELIHOODS:
            raise unknown_name("likelihood", likelihood, LIKELIHOODS)
        self.model = model
        self.average = moving_average(model)
        self.beta = beta
        self.likelihood = likelihood
        self.prelude = prelude

    def elbo(self, logits: Tensor, images: Tensor, mean: Tensor, log_variance: Tensor) -> dict[str, Tensor]:
        """The two terms of the bound for images (N, C, H, W) drawn as `logits`, each a mean over images.

        They are in nats for "bernoulli". For "gaussian", of variance v, in units of 1 / (4 v) nats: there a squared
        error weighs as much as it does in the cross-entropy at mid grey, and other terms need no other weights.
        """
        divergence = self.beta * kl_to_standard_normal(mean, log_variance).mean()
        if self.likelihood == "bernoulli":
            entropy = F.binary_cross_entropy_with_logits(logits, images, reduction="none")
            return {"reconstruction": entropy.sum(dim=(1, 2, 3)).mean(), "kl": divergence}
        error = (torch.sigmoid(logits) - images).square().sum(dim=(1, 2, 3)).mean()
        variance = error.detach() / images[0].numel()
        return {"reconstruction": 2 * error, "kl": 4 * variance * divergence}

    def negative_elbo(self, logits: Tensor, images: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """The bound to be made small, in nats an image, up to a constant: what fits can be compared by."""
        losses = self.elbo(logits, images, mean, log_variance)
        if self.likelihood == "bernoulli":
            return losses["reconstruction"] + losses["kl"]
        size = images[0].numel()
        variance = losses["reconstruction"] / (2 * size)
        return size / 2 * variance.log() + losses["kl"] / (4 * variance)

    @property
    def averaged(self) -> Model:
        """The model with the averaged weights, which draw more steadily than the last ones."""
        return cast(Model, self.average.module)

    def finished(self) -> Model:
        """The model, with the averaged weights put into it."""
        self.model.load_state_dict(self.averaged.state_dict())
        return self.model.eval()


def moving_average(model: nn.Module, decay: float = 0.999) -> AveragedModel:
    """The model with weights averaged over the last thousand steps, or over the last fifth if that is less.

    Without the latter, what a short training starts from would still be in its average when it ends.
    """

    def update(average: Tensor, weight: Tensor, count: Tensor | int) -> Tensor:
        share = min(decay, 1 - 1 / (1 + float(count) / 5))
        return torch.lerp(weight, average, share)

    return AveragedModel(model, avg_fn=update)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)), in nats per image, (N,)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
