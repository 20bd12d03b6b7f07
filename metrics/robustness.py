"""Whether a counterfactual still is one when the image, or the classifier, is not exactly the same."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..counterfactuals.engine import LARGEST_BATCH, Classifier, as_written

COPIES = 8
DEVIATION = 32 / 255  # a grain through which people read with ease; at a quarter of it adversarial noise holds, too


@torch.no_grad()
def robust_noise(
    classifier: Classifier,
    counterfactuals: Tensor,
    targets: Tensor,
    seed: int = 0,
    copies: int = COPIES,
    deviation: float = DEVIATION,
) -> Tensor:
    """Share of noisy copies of x' in which the classifier still sees the target, (N,), in [0, 1]; higher is better.

    mean over c of [argmax f(round8(clamp(x' + deviation * noise_c))) = target], noise_c standard normal. It is one
    less the invalidation rate of Pawelczyk et al. 2023, Probabilistically Robust Recourse, arXiv 2203.06768.
    Only the most probable class counts, not the confidence: engines tighten until a counterfactual lies just above
    the threshold on purpose, so many of its copies fall below it, however good it is.

    Args:
        classifier: image batch -> logits (N, K).
        counterfactuals: (N, C, H, W) in [0, 1].
        targets: (N,) int64.
        seed: of the noise, which is the same for every image: no answer depends on who else is in the batch.
        copies: noisy copies of each image.
        deviation: of the Gaussian noise, with pixel values in [0, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    # Drawn on the CPU, so that every device adds the same noise.
    noise = torch.randn(copies, *counterfactuals.shape[1:], generator=generator).to(counterfactuals.device) * deviation
    holds = []
    for rows in torch.arange(len(targets), device=targets.device).split(max(1, LARGEST_BATCH // copies)):
        noisy = as_written(counterfactuals[rows, None] + noise)
        seen = classifier(noisy.flatten(0, 1)).argmax(dim=1)
        holds.append(seen.view(len(rows), copies) == targets[rows, None])
    return torch.cat(holds).float().mean(dim=1)


@torch.no_grad()
def robust_retrained(retrained: Callable[[Tensor], Tensor], counterfactuals: Tensor, targets: Tensor) -> Tensor:
    """Share of re-trained classifiers that see the target in x', (N,), in [0, 1]; higher is better.

    mean over m of [argmax f_m(x') = target]. The f_m are fitted by the explained classifier's recipe to the same
    images, with other seeds. It is one less the invalidation rate of Black et al. 2022, Consistent Counterfactuals
    for Deep Models, arXiv 2110.03109. With M classifiers only the M + 1 shares 0, 1/M, ... 1 occur.

    Args:
        retrained: image batch (N, C, H, W) -> logits (M, N, K) of M classifiers (`classifiers/retrained.py`).
        counterfactuals: (N, C, H, W) in [0, 1].
        targets: (N,) int64.
    """
    return (retrained(counterfactuals).argmax(dim=2) == targets).float().mean(dim=0)
