"""A normalizing flow over images: an exact bijection with a density, built from normflows' Glow blocks."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..data.datasets import Labelled
from ..data.fitting import Fit, one_cycle, set_learning_rate

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import normflows as nf

LEVELS = 256  # grey levels of an 8-bit image


class ImageFlow(nn.Module):
    """Glow (Kingma and Dhariwal 2018, arXiv 1807.03039) with a class-conditional Gaussian base: `Bijection`.

    Pixels are moved to the middle of their 8-bit bin, squeezed through a logit (alpha = 0.05, as in RealNVP),
    then go through two resolutions of Glow blocks. Nothing is factored out: all C*S*S numbers reach the base.

    Args:
        channels: colours of an image.
        size: side of the square image, in pixels; a multiple of 4.
        classes: number of classes K of the base.
        fine: Glow blocks at half resolution.
        coarse: Glow blocks at quarter resolution.
        hidden: channels inside the couplings, at half and at quarter resolution.
    """

    def __init__(
        self,
        channels: int = 1,
        size: int = 28,
        classes: int = 10,
        fine: int = 6,
        coarse: int = 10,
        hidden: tuple[int, int] = (48, 128),
    ) -> None:
        super().__init__()
        self.shape = (16 * channels, size // 4, size // 4)
        self.classes = classes
        # normflows lists its layers from the base to the data.
        layers: list[nn.Module] = [nf.flows.GlowBlock(16 * channels, hidden[1]) for _ in range(coarse)]
        layers.append(nf.flows.Squeeze())
        layers += [nf.flows.GlowBlock(4 * channels, hidden[0]) for _ in range(fine)]
        layers += [nf.flows.Squeeze(), nf.transforms.Logit(alpha=0.05)]
        self.flow = nf.ClassCondFlow(nf.distributions.ClassCondDiagGaussian(self.shape, classes), layers)

    def _inverse(self, dequantised: Tensor) -> tuple[Tensor, Tensor]:
        z, log_determinant = dequantised, torch.zeros(len(dequantised), device=dequantised.device)
        for layer in reversed(self.flow.flows):
            z, change = layer.inverse(z)  # pyright: ignore[reportCallIssue]
            log_determinant = log_determinant + change
        return z, log_determinant

    def encode(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> base variables (N, C*H*W)."""
        return self._inverse((images * (LEVELS - 1) + 0.5) / LEVELS)[0].flatten(1)

    def decode(self, latents: Tensor) -> Tensor:
        """base variables (N, C*H*W) -> images (N, C, H, W), within half a grey level of [0, 1]."""
        x = latents.view(-1, *self.shape)
        for layer in self.flow.flows:
            x, _ = layer(x)
        return (x * LEVELS - 0.5) / (LEVELS - 1)

    def base_log_prob(self, latents: Tensor) -> Tensor:
        """base variables (N, D) -> log-density under each class's Gaussian, in nats (N, K)."""
        base = self.flow.q0
        mean = base.loc.reshape(-1, self.classes)  # (D, K)
        log_scale = base.log_scale.reshape(-1, self.classes)
        precision = (-2 * log_scale).exp()
        # Squares expanded, so that K classes cost two matrix products and no (N, D, K) tensor.
        distance = latents.square() @ precision - 2 * latents @ (mean * precision) + (mean.square() * precision).sum(0)
        return -0.5 * distance - log_scale.sum(0) - 0.5 * len(mean) * math.log(2 * math.pi)

    def class_log_prob(self, dequantised: Tensor) -> Tensor:
        """continuous images (N, C, H, W) in (0, 1) -> log p(x | class), in nats (N, K)."""
        z, log_determinant = self._inverse(dequantised)
        return self.base_log_prob(z.flatten(1)) + log_determinant[:, None]

    def log_prob(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> log p(x) of the dequantised image, all classes alike likely, in nats (N,)."""
        per_class = self.class_log_prob((images * (LEVELS - 1) + 0.5) / LEVELS)
        return per_class.logsumexp(dim=1) - math.log(self.classes)


class FlowFit(Fit):
    """Maximum likelihood, and a cross-entropy that makes the base's classes part.

    Likelihood alone hardly cares about the class, which is worth 2.3 of some 600 nats. The second term,
    the cross-entropy of the flow's own class posterior, gives it weight in the base space
    (Ardizzone et al. 2020, IB-INN, arXiv 2001.06448), so that moving towards a class means drawing it.

    Args:
        model: what to fit.
        class_weight: weight of the cross-entropy, against the likelihood in nats per image.
    """

    def __init__(
        self,
        model: ImageFlow,
        data: Labelled,
        *,
        epochs: float = 20,
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        class_weight: float = 10.0,
        seed: int = 0,
    ) -> None:
        super().__init__(data, batch_size, epochs, seed)
        self.model = model
        self.learning_rate = learning_rate
        self.class_weight = class_weight
        with torch.no_grad():  # the first call sets the activation norms; the average must start from them
            model.encode(data.floats(slice(0, 512)))
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.998))
        self.modules = {"model": model, "average": self.average}
        self.optimizer = torch.optim.Adam(model.parameters())
        self.optimizers = {"model": self.optimizer}

    def step(self, index: int) -> dict[str, Tensor]:
        set_learning_rate(self.optimizer, self.learning_rate * one_cycle(index, self.total_steps))
        images, labels = self.batch(index)
        per_class = self.model.class_log_prob((images * (LEVELS - 1) + torch.rand_like(images)) / LEVELS)
        likelihood = per_class.gather(1, labels[:, None]).mean()
        separation = cross_entropy(per_class, labels)
        self.optimizer.zero_grad(set_to_none=True)
        (self.class_weight * separation - likelihood).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 200.0)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        pixels = images[0].numel()
        bits = math.log2(LEVELS) - likelihood.detach() / (pixels * math.log(2))
        return {"bits_per_dim": bits, "separation": separation.detach()}

    def finished(self) -> ImageFlow:
        """The averaged weights."""
        self.model.load_state_dict(self.average.module.state_dict())
        return self.model.eval()
