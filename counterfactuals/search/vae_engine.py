"""What engines that search the latent space of a VAE have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...generative.contract import GenerativeModel
from ..engine import Engine
from ..problem import Problem
from ..settings import setting


@dataclass(frozen=True, kw_only=True)
class VAEEngine(Engine):
    """An engine that searches the latent space of a VAE, and its settings for that."""

    needs: ClassVar[tuple[str, ...]] = ("vae",)

    vae: GenerativeModel
    residual: bool | None = setting(
        None, "keep what the VAE cannot decode; none: only if changes are carried to larger images"
    )

    def begin(self, problem: Problem) -> tuple[Tensor, Tensor]:
        """Encode the factuals, and keep what the VAE cannot decode if that is asked for.

        Returns:
            (N, D) their latents, and (N, C, h, w) the images from which a distance is measured: the factuals, or, where
            the rest is kept, their reconstructions.
        """
        origin = self.vae.encode(problem.images)
        if not problem.wants_residual(self.residual):
            return origin, problem.images
        start = self.vae.decode(origin)
        problem.use_residual_of(start)
        return origin, start
