"""The gradient ascent that every iterating engine shares: batched, finished images leave the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .problem import Problem, clamped

BETAS = (0.9, 0.999)  # Adam's (Kingma and Ba 2015, arXiv 1412.6980, section 2)
TINY = 1e-12

Decode = Callable[[Tensor, Tensor], Tensor]
"""latents (M, D), rows (M,) -> images (M, C, H, W)"""

Accept = Callable[[Tensor, Tensor], Tensor]
"""latents (M, D), rows (M,) -> whether the search may end there (M,) bool"""

Penalty = Callable[[Tensor, Tensor], Tensor]
"""latents (M, D), rows (M,) -> a cost in nats (M,), added to the classifier's"""


@dataclass
class Ascent:
    """The state of a search: where each image is, and the best that it has seen.

    Attributes:
        best: (N, D) latents of the first acceptable valid point, or else of the first valid, or else of the most
            confident one.
        confidence: (N,) the target's probability there.
        valid: (N,) bool.
        done: (N,) bool, valid and acceptable to the engine.
    """

    best: Tensor
    confidence: Tensor
    valid: Tensor
    done: Tensor

    @classmethod
    def at(cls, start: Tensor) -> Ascent:
        """Nothing known yet but the start, (N, D)."""
        count = len(start)
        return cls(
            start.clone(),
            torch.full((count,), -1.0, device=start.device),
            torch.zeros(count, dtype=torch.bool, device=start.device),
            torch.zeros(count, dtype=torch.bool, device=start.device),
        )

    def climb(
        self,
        problem: Problem,
        start: Tensor,
        decode: Decode,
        *,
        rows: Tensor,
        learning_rate: float,
        max_steps: int,
        penalty: Penalty | None = None,
        accept: Accept | None = None,
        dequantise: bool = False,
    ) -> None:
        """Adam on -log p(target) + penalty from `start`, until each row is done or the steps run out.

        An image leaves the batch at its first valid point that `accept` has nothing against: decoder and classifier
        only ever see the rows still searching, and no row's way depends on the others in the batch.

        The second moment is averaged over an image's coordinates, so that a step points where the gradient
        points. Adam's own, one for each coordinate, would blow up those that hardly matter to the image, and
        with them undo what the choice of coordinates is there for. (torch.optim has no such option, and
        building any of its optimisers imports torch.compile's machinery, which doubles the time of a command.)

        Args:
            start: (M, D) latents to begin at.
            rows: (M,) the images that they belong to.
            learning_rate: length of a step, in root mean square units of the latent space.
            max_steps: most steps an image.
            penalty: added to the classifier's cost.
            accept: which points a search may end at; all, if None.
            dequantise: ask for gradients at the image plus a fixed noise within the bin of an 8-bit value. Where
                black ground comes back black to the sixth digit only, the ties of a max pooling would else be
                broken by rounding errors, and the gradient with them. What is kept is asked about without it.
        """
        generator = torch.Generator().manual_seed(problem.seed)
        noise = torch.rand(problem.images.shape[1:], generator=generator).to(start.device) if dequantise else None
        latents = start.clone()
        mean, square = torch.zeros_like(start), torch.zeros(len(start), 1, device=start.device)
        for step in range(max_steps + 1):
            with torch.enable_grad():
                here = latents.detach().requires_grad_(True)
                drawn = decode(here, rows)
                if noise is not None:
                    drawn = (clamped(drawn) * 255 + noise) / 256
                log_probabilities = problem.log_probabilities(drawn, rows)
                cost = problem.cost(log_probabilities, rows)
                if penalty is not None:
                    cost = cost + penalty(here, rows)
                total = cost.sum()
            valid, confidence = problem.met(log_probabilities, rows)
            if bool(valid.any()):  # valid is what is still valid once it is rounded to 8 bits
                rounded = problem.candidates(decode(latents[valid], rows[valid]), rows[valid])
                valid[valid.clone()] = rounded.valid
            done = valid if accept is None else valid & accept(latents, rows)
            before = self.valid[rows]
            better = done | (valid & ~before) | (~before & (confidence > self.confidence[rows]))
            self.best[rows[better]] = latents[better]
            self.confidence[rows[better]] = confidence[better]
            self.valid[rows[valid]] = True
            self.done[rows[done]] = True
            if step == max_steps or bool(done.all()):
                return
            (gradient,) = torch.autograd.grad(total, here)
            if bool(done.any()):  # otherwise there is nothing to leave behind, and copying would be for nothing
                searching = ~done
                rows, latents, gradient, mean, square = (
                    values[searching] for values in (rows, latents, gradient, mean, square)
                )
            mean = torch.lerp(gradient, mean, BETAS[0])
            square = torch.lerp(gradient.square().mean(dim=1, keepdim=True), square, BETAS[1])
            first, second = 1 - BETAS[0] ** (step + 1), 1 - BETAS[1] ** (step + 1)
            latents = latents - learning_rate * (mean / first) / ((square / second).sqrt() + TINY)
            problem.steps[rows.cpu()] += 1
