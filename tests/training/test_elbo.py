"""How the two VAEs are fitted: the likelihood of pixels, and the prelude before their adversaries set in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gaussian_nll_loss

from cfx.errors import UsageError
from cfx.generative.conditional_vae import ConditionalVAE
from cfx.generative.vae import VAE
from cfx.images.sets.labelled import Labelled
from cfx.training.elbo import kl_to_standard_normal
from cfx.training.parts.conditional_vae import ConditionalVAEFit
from cfx.training.parts.vae import VAEFit


@pytest.fixture
def data(digits: tuple[Tensor, Tensor]) -> Labelled:
    images, labels = digits
    return Labelled((images * 255).round().to(torch.uint8), labels)


def fit_of(kind: str, data: Labelled, **settings: object) -> VAEFit | ConditionalVAEFit:
    torch.manual_seed(0)
    if kind == "vae":
        return VAEFit(VAE(latents=8), data, batch_size=16, **settings)  # type: ignore[arg-type]
    guides = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))]
    answers = torch.nn.functional.one_hot(data.labels, 10).float()
    return ConditionalVAEFit(ConditionalVAE(latents=8), answers, guides, data, batch_size=16, **settings)  # type: ignore[arg-type]


def weights(module: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_the_gaussian_bound_is_that_of_a_variance_equal_to_the_squared_error(data: Labelled) -> None:
    fit = fit_of("vae", data, likelihood="gaussian")
    images = data.floats(slice(0, 32))
    logits = torch.randn(32, 1, 28, 28, generator=torch.Generator().manual_seed(1)).requires_grad_()
    mean, log_variance = torch.randn(2, 32, 8, generator=torch.Generator().manual_seed(2))
    losses = fit.elbo(logits, images, mean, log_variance)
    drawn = torch.sigmoid(logits)
    variance = (drawn - images).square().mean().detach()
    nats = gaussian_nll_loss(drawn, images, variance.expand_as(images), reduction="sum") / 32
    unit = 1 / (4 * variance)  # nats
    (expected,) = torch.autograd.grad(nats, logits)
    (gradient,) = torch.autograd.grad(losses["reconstruction"], logits)
    assert torch.allclose(gradient * unit, expected, rtol=1e-4, atol=1e-6)
    assert losses["kl"] * unit == pytest.approx(float(kl_to_standard_normal(mean, log_variance).mean()), rel=1e-5)


def test_an_unknown_likelihood_is_refused(data: Labelled) -> None:
    with pytest.raises(UsageError, match="unknown likelihood 'gausian': did you mean 'gaussian'"):
        fit_of("vae", data, likelihood="gausian")


@pytest.mark.parametrize("kind", ["vae", "conditional_vae"])
def test_the_critic_sets_in_after_the_prelude(kind: str, data: Labelled) -> None:
    fit = fit_of(kind, data, prelude=0.5)
    fit.total_steps = 10
    before, drawn_before = weights(fit.critic), weights(fit.model)
    early = fit.step(4)
    assert torch.equal(weights(fit.critic), before) and not torch.equal(weights(fit.model), drawn_before)
    assert {"reconstruction", "kl"} <= set(early) and "adversarial" not in early
    late = fit.step(5)
    assert not torch.equal(weights(fit.critic), before)
    assert "adversarial" in late


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_it_learns_to_draw_digits_that_it_has_not_seen(likelihood: str, data: Labelled) -> None:
    fit = fit_of("vae", data[:300], likelihood=likelihood, prelude=1.0, learning_rate=3e-3)
    fit.total_steps = 120
    fit.run()
    model, others = fit.finished(), data[300:].floats()
    with torch.no_grad():
        error = (model.decode(model.encode(others)) - others).square().mean()
    assert error < 0.8 * (others - data[:300].floats().mean(dim=0)).square().mean()
