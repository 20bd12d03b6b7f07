"""Translations in a latent space, from images of which a classifier is unsure to images of which it is sure."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LatentTranslations(nn.Module):
    """One vector for every pair of classes: from images unsurely of the first to images surely of the second.

    Source: Ley et al. 2022, GLAM-CLUE, arXiv 2112.02646, section 4.

    Args:
        classes: number K of classes.
        latents: dimension D of the latent space.
    """

    def __init__(self, classes: int, latents: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(classes, classes, latents))

    def forward(self, latents: Tensor, unsure: Tensor, sure: Tensor) -> Tensor:
        """latents (N, D) and classes (N,), (N,) -> translated latents (N, D)."""
        return latents + self.vectors[unsure, sure]
