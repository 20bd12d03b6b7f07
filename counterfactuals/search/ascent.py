"""Batched gradient ascent, shared by all iterative engines. Finished images leave the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..problem import Problem, clamped

BETAS = (0.9, 0.999)  # Adam's (Kingma and Ba 2015, arXiv 1412.6980, section 2)
TINY = 1e-12

Decode = Callable[[Tensor, Tensor], Tensor]
"""latents (M, D), rows (M,) -> images (M, C, H, W)"""

Accept = Callable[[Tensor, Tensor], Tensor]
"""latents (M, D), rows (M,) -> (M,) bool, whether the search may stop at these latents"""

Penalty = Callable[[Tensor, Tensor], Tensor]
"""latents (M, D), rows (M,) -> (M,) a cost in nats that is added to the goal's cost"""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How an ascent searches.

    Attributes:
        decode: maps latents to images.
        learning_rate: length of a step, as a root mean square in units of the latent space.
        max_steps: largest number of steps per image.
        penalty: added to the goal's cost.
        accept: which points a search may end at; None: all of them.
        dequantise: compute gradients at the image plus fixed noise within the bin of an 8-bit value. A flow
            reproduces a black background only to about six digits. Without the noise, rounding errors would
            break the ties in a max pooling and so determine the gradient. Candidates that are kept are
            evaluated without the noise.
    """

    decode: Decode
    learning_rate: float
    max_steps: int
    penalty: Penalty | None = None
    accept: Accept | None = None
    dequantise: bool = False


@dataclass
class Ascent:
    """The state of a search: the best point found so far for each image.

    Attributes:
        best: (N, D) latents of the first valid point that the engine accepts; if there is none, of the first valid
            point; if there is none either, of the point with the highest confidence.
        confidence: (N,) the target's probability at `best`.
        valid: (N,) bool, whether a valid point was found.
        done: (N,) bool, whether a valid point that the engine accepts was found.
    """

    best: Tensor
    confidence: Tensor
    valid: Tensor
    done: Tensor

    @classmethod
    def at(cls, start: Tensor) -> Ascent:
        """The state before the first step, with `best` at the starting latents (N, D)."""
        count = len(start)
        return cls(
            start.clone(),
            torch.full((count,), -1.0, device=start.device),
            torch.zeros(count, dtype=torch.bool, device=start.device),
            torch.zeros(count, dtype=torch.bool, device=start.device),
        )

    def climb(self, problem: Problem, start: Tensor, rows: Tensor, search: Search) -> None:
        """Minimises the goal's cost plus the penalty with Adam, from `start` until each row is done or out of steps.

        An image leaves the batch at its first valid point that the search accepts. The decoder and the classifier
        evaluate only the rows that are still searching, and the result of a row does not depend on the other rows.

        Adam's second moment is averaged over the coordinates of an image, so that a step follows the direction of
        the gradient. With one second moment per coordinate, as in standard Adam, coordinates that hardly affect the
        image would be scaled up, which would undo the benefit of searching in these coordinates. (torch.optim has
        no such option, and creating any of its optimisers imports torch.compile's machinery, which doubles the
        running time of a command.)

        Args:
            problem: evaluates the candidates.
            start: (M, D) latents to start from.
            rows: (M,) indices of the images that the latents belong to.
            search: how to search.
        """
        generator = torch.Generator().manual_seed(problem.seed)
        noise = None
        if search.dequantise:
            noise = torch.rand(problem.images.shape[1:], generator=generator).to(start.device)
        latents = start.clone()
        mean, square = torch.zeros_like(start), torch.zeros(len(start), 1, device=start.device)
        for step in range(search.max_steps + 1):
            with torch.enable_grad():
                point = latents.detach().requires_grad_(True)
                images = search.decode(point, rows)
                if noise is not None:
                    images = (clamped(images) * 255 + noise) / 256
                log_probabilities = problem.log_probabilities(images, rows)
                cost = problem.cost(log_probabilities, rows)
                if search.penalty is not None:
                    cost = cost + search.penalty(point, rows)
                total = cost.sum()
            valid, confidence = problem.met(log_probabilities, rows)
            if bool(valid.any()):  # a candidate must still be valid after rounding to 8 bits
                rounded = problem.candidates(search.decode(latents[valid], rows[valid]), rows[valid])
                valid[valid.clone()] = rounded.valid
            done = valid
            if search.accept is not None and bool(valid.any()):
                done = valid.clone()
                done[valid] = search.accept(latents[valid], rows[valid])
            self._keep(latents, rows, confidence, valid, done)
            if step == search.max_steps or bool(done.all()):
                return
            (gradient,) = torch.autograd.grad(total, point)
            if bool(done.any()):  # otherwise no row leaves the batch, and the copies would be wasted
                searching = ~done
                rows, latents, gradient, mean, square = (
                    values[searching] for values in (rows, latents, gradient, mean, square)
                )
            mean = torch.lerp(gradient, mean, BETAS[0])
            square = torch.lerp(gradient.square().mean(dim=1, keepdim=True), square, BETAS[1])
            first, second = 1 - BETAS[0] ** (step + 1), 1 - BETAS[1] ** (step + 1)
            latents = latents - search.learning_rate * (mean / first) / ((square / second).sqrt() + TINY)
            problem.steps[rows.cpu()] += 1

    def _keep(self, latents: Tensor, rows: Tensor, confidence: Tensor, valid: Tensor, done: Tensor) -> None:
        """Keep the latents of the rows whose best point they are so far."""
        before = self.valid[rows]
        better = done | (valid & ~before) | (~before & (confidence > self.confidence[rows]))
        self.best[rows[better]] = latents[better]
        self.confidence[rows[better]] = confidence[better]
        self.valid[rows[valid]] = True
        self.done[rows[done]] = True
