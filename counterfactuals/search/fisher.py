"""The Fisher information of a generative model's latents about a classifier's answer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...images.resizing import resize_batch
from ..problem import Problem, clamped

BATCH = 64  # latents


def fisher_information(problem: Problem, decode: Callable[[Tensor], Tensor], latents: Tensor) -> Tensor:
    """The mean over latents of sum_k p_k J_k J_k^T, with the gradient J_k of log p_k, (D, D).

    p are the classifier's probabilities of the decoded image. Source: Rodríguez et al. 2021, arXiv 2103.10226,
    section 3; their code samples one class instead of the sum over k.

    Args:
        problem: has the classifier, whose calls are not counted: they are of no question.
        decode: latents (M, D) -> images (M, C, h, w).
        latents: (M, D), of real images.
    """
    height, width = problem.factuals.shape[2:]
    total = latents.new_zeros(latents.shape[1], latents.shape[1])
    for some in latents.split(BATCH):
        with torch.enable_grad():
            point = some.detach().requires_grad_(True)
            images = resize_batch(clamped(decode(point)), (height, width))
            logs = problem.logits(images).log_softmax(dim=1)
            gradients = [
                torch.autograd.grad(column.sum(), point, retain_graph=True)[0] for column in logs.unbind(dim=1)
            ]
        weighted = torch.stack(gradients, dim=1) * logs.detach().exp().sqrt()[:, :, None]
        total += torch.einsum("mkd,mke->de", weighted, weighted)
    return total / len(latents)
