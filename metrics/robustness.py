"""Whether the classifier still sees the target after small changes of the image or after retraining."""

from __future__ import annotations

import torch
from torch import Tensor

from ..counterfactuals.problem import LARGEST_BATCH, as_written
from .scene import Scene

COPIES = 8
# Of a stream that no engine samples from: `auto` tests its answers with noise of its questions' seed, a small number.
NOISE_SEED = 0x9E3779B9  # 2^32 divided by the golden ratio, for want of any other meaning
DEVIATION = 32 / 255  # people still read such images with ease; at a quarter of it adversarial noise survives as well


@torch.no_grad()
def robust_noise(scene: Scene, *, seed: int = NOISE_SEED, copies: int = COPIES, deviation: float = DEVIATION) -> Tensor:
    """Share of noisy copies of x' for which the classifier predicts the target, (N,), in [0, 1]; higher is better.

    mean over c of [argmax f(round8(clamp(x' + deviation * noise_c))) = target], noise_c standard normal. It equals
    1 minus the invalidation rate of Pawelczyk et al. 2023, Probabilistically Robust Recourse, arXiv 2203.06768.
    Only the most probable class counts, not the confidence: most engines tighten each counterfactual to near the
    confidence threshold, so many of its noisy copies fall below it, however good it is.

    Args:
        scene: the counterfactuals to score.
        seed: seed of the noise, by default one that no engine uses. The noise is the same for every image, so that no
            value depends on the batch.
        copies: number of noisy copies of each image.
        deviation: standard deviation of the Gaussian noise, for pixel values in [0, 1].
    """
    images, targets = scene.counterfactuals, scene.targets
    noise = noise_patterns(images, seed=seed, copies=copies) * deviation
    holds = []
    for rows in torch.arange(len(targets), device=targets.device).split(max(1, LARGEST_BATCH // copies)):
        noisy = as_written(images[rows, None] + noise)
        seen = scene.classifier(noisy.flatten(0, 1)).argmax(dim=1)
        holds.append(seen.view(len(rows), copies) == targets[rows, None])
    return torch.cat(holds).float().mean(dim=1)


def noise_patterns(images: Tensor, *, seed: int = NOISE_SEED, copies: int = COPIES) -> Tensor:
    """The standard normal noise of the copies of images (N, C, H, W), the same for every image: (copies, C, H, W)."""
    # Sampled on the CPU, so that every device adds the same noise.
    return torch.randn(copies, *images.shape[1:], generator=torch.Generator().manual_seed(seed)).to(images.device)


@torch.no_grad()
def robust_retrained(scene: Scene) -> Tensor:
    """Share of retrained classifiers that predict the target for x', (N,), in [0, 1]; higher is better.

    mean over m of [argmax f_m(x') = target]. The f_m are trained on the images of the explained classifier with
    other seeds; `cfx train` makes them narrower (`mnist`: width 10 instead of 16). It equals 1 minus
    the invalidation rate of Black et al. 2022, Consistent Counterfactuals for Deep Models, arXiv 2110.03109.
    With M classifiers only the M + 1 values 0, 1/M, ..., 1 occur.
    """
    logits = scene.judge("retrained")(scene.judges_input)  # (M, N, K)
    return (logits.argmax(dim=2) == scene.labels).float().mean(dim=0)
