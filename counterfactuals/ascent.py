"""The gradient ascent that every iterating engine shares: batched, finished images leave the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .engine import Question

Decode = Callable[[Tensor, Tensor], Tensor]
"""latents (M, D), rows (M,) -> images (M, C, H, W)"""

Penalty = Callable[[Tensor, Tensor], Tensor]
"""latents (M, D), rows (M,) -> a cost in nats (M,), added to the classifier's"""


@dataclass
class Ascent:
    """The state of a search: where each image is, and the best that it has seen.

    Attributes:
        best: (N, D) latents of the first valid point, or else of the most confident one.
        confidence: (N,) the target's probability there.
        valid: (N,) bool.
    """

    best: Tensor
    confidence: Tensor
    valid: Tensor

    @classmethod
    def at(cls, start: Tensor) -> Ascent:
        """Nothing known yet but the start, (N, D)."""
        count = len(start)
        return cls(
            start.clone(),
            torch.full((count,), -1.0, device=start.device),
            torch.zeros(count, dtype=torch.bool, device=start.device),
        )

    def climb(
        self,
        question: Question,
        start: Tensor,
        decode: Decode,
        *,
        rows: Tensor,
        learning_rate: float,
        max_steps: int,
        penalty: Penalty | None = None,
    ) -> None:
        """Adam on -log p(target) + penalty from `start`, until each row is valid or the steps run out.

        An image leaves the batch at its first valid point: decoder and classifier only ever see the rows
        still searching. Adam works number by number, so no row's way depends on the others in the batch.

        Args:
            start: (M, D) latents to begin at.
            rows: (M,) the images that they belong to.
            learning_rate: Adam's, in units of the latent space.
            max_steps: most steps an image.
        """
        latents = start.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([latents], lr=learning_rate)
        active = torch.arange(len(rows), device=start.device)
        for _ in range(max_steps + 1):
            with torch.enable_grad():
                here, asked = latents[active], rows[active]
                log_probabilities = question.log_probabilities(decode(here, asked), asked)
                cost = -log_probabilities.gather(1, question.targets[asked][:, None]).squeeze(1)
                if penalty is not None:
                    cost = cost + penalty(here, asked)
                total = cost.sum()
            valid, confidence = question.answer(log_probabilities, asked)
            better = confidence > self.confidence[asked]
            self.best[asked[better]] = here.detach()[better]
            self.confidence[asked[better]] = confidence[better]
            self.best[asked[valid]] = here.detach()[valid]
            self.confidence[asked[valid]] = confidence[valid]
            self.valid[asked[valid]] = True
            if bool(valid.all()):
                return
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            optimizer.step()
            question.steps[asked[~valid].cpu()] += 1
            active = active[~valid]
