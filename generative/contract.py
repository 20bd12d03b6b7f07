"""What engines ask of a generative model. Image batches are (N, C, H, W) in [0, 1] everywhere."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class GenerativeModel(Protocol):
    """Maps images to latents and back."""

    def encode(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> latents (N, D), deterministic (the posterior mean where there is one)."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """latents (N, D) -> images (N, C, H, W) in [0, 1], differentiable."""
        ...


class ConditionalModel(Protocol):
    """Maps images to class-free latents, and latents with class probabilities to images."""

    def encode(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> latents (N, D) that hold what is not the class: slant, weight, style."""
        ...

    def decode(self, latents: Tensor, condition: Tensor) -> Tensor:
        """latents (N, D), condition (N, K) of class probabilities -> images (N, C, H, W) in [0, 1]."""
        ...
