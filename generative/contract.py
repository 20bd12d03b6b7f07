"""The interfaces of generative models that engines use. Image batches are (N, C, H, W) in [0, 1]."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class GenerativeModel(Protocol):
    """Maps images to latents and back."""

    def encode(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> latents (N, D), deterministic (the posterior mean if there is a posterior)."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """latents (N, D) -> images (N, C, H, W) in [0, 1], differentiable."""
        ...


class ConditionalModel(Protocol):
    """Maps images to class-free latents, and latents with class probabilities to images."""

    def encode(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> latents (N, D) that encode all but the class, such as slant, stroke and style."""
        ...

    def decode(self, latents: Tensor, condition: Tensor) -> Tensor:
        """latents (N, D), class probabilities (N, K) -> images (N, C, H, W) in [0, 1]."""
        ...
