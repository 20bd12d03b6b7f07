"""Batched gradient ascent, shared by all iterative engines. Finished images leave the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..problem import Problem, clamped

BETAS = (0.9, 0.999)  # Adam's (Kingma and Ba 2015, arXiv 1412.6980, section 2)
TINY = 1e-12
EPSILON = 1e-8  # of Adam with a second moment for each coordinate, as there

Optimiser = Literal["adam-per-image", "adam", "gradient-descent"]
"""How a step follows from the gradient: by Adam with one second moment for each image (see `Ascent.climb`), by Adam, or
as the gradient times the learning rate."""

Decode = Callable[[Tensor, Tensor], Tensor]
"""latents (M, D), rows (M,) -> images (M, C, H, W)"""

Accept = Callable[[Tensor, Tensor], Tensor]
"""latents (M, D), rows (M,) -> (M,) bool, whether the search may stop at these latents"""

Penalty = Callable[[Tensor, Tensor], Tensor]
"""latents (M, D), rows (M,) -> (M,) a cost in nats that is added to the goal's cost"""

Cost = Callable[[Tensor, Tensor], Tensor]
"""log-probabilities (M, K), rows (M,) -> (M,) the cost of what the classifier sees"""

Project = Callable[[Tensor, Tensor], Tensor]
"""latents (M, D), rows (M,) -> (M, D) the nearest latents that are allowed"""


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """A stopping rule that does not ask for validity: the cost has hardly changed in the last steps.

    Source: Antorán et al. 2021, CLUE, code.

    Attributes:
        steps: how many of them.
        share: the change, of the cost at the start, that counts as hardly any.
        least: a change that always counts as hardly any, in nats.
    """

    steps: int = 3
    share: float = 0.01
    least: float = 1e-3

    def reached(self, costs: Tensor) -> Tensor:
        """Whether each of the searches with costs (T, M), from the start to now, has reached it, (M,) bool."""
        if len(costs) <= self.steps:
            return torch.zeros_like(costs[0], dtype=torch.bool)
        change = (costs[-1 - self.steps] - costs[-1]).abs()
        return (change < self.share * costs[0]) | (change < self.least)


@dataclass(frozen=True, kw_only=True)
class Search:
    """How an ascent searches.

    Attributes:
        decode: maps latents to images.
        learning_rate: length of a step, as a root mean square in units of the latent space; for gradient descent, what
            the gradient is multiplied by.
        max_steps: largest number of steps per image.
        optimiser: how a step follows from the gradient.
        cost: in place of the goal's cost; None: that.
        penalty: added to the cost.
        project: applied after each step; None: all latents are allowed.
        plateau: ends the search in place of validity, and its last point is kept; None: it ends at a valid point.
        accept: which points a search may end at; None: all of them.
        dequantise: compute gradients at the image plus fixed noise within the bin of an 8-bit value. A flow
            reproduces a black background only to about six digits. Without the noise, rounding errors would
            break the ties in a max pooling and so determine the gradient. Candidates that are kept are
            evaluated without the noise.
    """

    decode: Decode
    learning_rate: float
    max_steps: int
    optimiser: Optimiser = "adam-per-image"
    cost: Cost | None = None
    penalty: Penalty | None = None
    project: Project | None = None
    plateau: Plateau | None = None
    accept: Accept | None = None
    dequantise: bool = False

    def total(self, problem: Problem, log_probabilities: Tensor, latents: Tensor, rows: Tensor) -> Tensor:
        """What is descended, (M,): the cost of log-probabilities (M, K), and the penalty of latents (M, D)."""
        cost = (self.cost or problem.cost)(log_probabilities, rows)
        return cost if self.penalty is None else cost + self.penalty(latents, rows)


class Steps:
    """The steps of the images that are still searching, by the optimiser of a search.

    Args:
        start: (M, D) latents to start from.
        search: has the optimiser and the learning rate.
    """

    def __init__(self, start: Tensor, search: Search) -> None:
        self.search, self.count = search, 0
        self.mean = torch.zeros_like(start)
        self.square = torch.zeros_like(start if search.optimiser == "adam" else start[:, :1])

    def only(self, searching: Tensor) -> None:
        """Leave out the images that are not `searching` (M,) bool."""
        self.mean, self.square = self.mean[searching], self.square[searching]

    def along(self, gradient: Tensor) -> Tensor:
        """The next step (M, D) along a gradient (M, D)."""
        rate, optimiser = self.search.learning_rate, self.search.optimiser
        if optimiser == "gradient-descent":
            return rate * gradient
        self.count += 1
        square = gradient.square()
        if optimiser == "adam-per-image":
            square = square.mean(dim=1, keepdim=True)
        self.mean = torch.lerp(gradient, self.mean, BETAS[0])
        self.square = torch.lerp(square, self.square, BETAS[1])
        first, second = (1 - beta**self.count for beta in BETAS)
        return rate * (self.mean / first) / ((self.square / second).sqrt() + (EPSILON if optimiser == "adam" else TINY))


@dataclass
class Ascent:
    """The state of a search: the best point found so far for each image.

    Attributes:
        best: (N, D) latents of the first valid point that the engine accepts; if there is none, of the first valid
            point; if there is none either, of the point with the highest confidence. With a plateau, the last point.
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
        """Minimises the cost plus the penalty from `start` until each row is done or out of steps.

        An image leaves the batch at its first valid point that the search accepts, or at a plateau if the search has
        one. The decoder and the classifier evaluate only the rows that are still searching, and the result of a row
        does not depend on the other rows.

        By default, Adam's second moment is averaged over the coordinates of an image, so that a step follows the
        direction of the gradient. With one second moment per coordinate, as in standard Adam, coordinates that hardly
        affect the image would be scaled up, which would undo the benefit of searching in these coordinates.
        (torch.optim has no such option, and creating any of its optimisers imports torch.compile's machinery, which
        doubles the running time of a command.)

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
        latents, steps = start.clone(), Steps(start, search)
        costs = start.new_zeros(search.max_steps + 1, len(self.best)) if search.plateau is not None else None
        for step in range(search.max_steps + 1):
            with torch.enable_grad():
                point = latents.detach().requires_grad_(True)
                images = search.decode(point, rows)
                if noise is not None:
                    images = (clamped(images) * 255 + noise) / 256
                log_probabilities = problem.log_probabilities(images, rows)
                cost = search.total(problem, log_probabilities, point, rows)
                total = cost.sum()
            valid, confidence = problem.met(log_probabilities, rows)
            if bool(valid.any()):  # a candidate must still be valid after rounding to 8 bits
                rounded = problem.candidates(search.decode(latents[valid], rows[valid]), rows[valid])
                valid[valid.clone()] = rounded.valid
            done = valid
            if search.accept is not None and bool(valid.any()):
                done = valid.clone()
                done[valid] = search.accept(latents[valid], rows[valid])
            if search.plateau is not None and costs is not None:
                costs[step, rows] = cost.detach()
                done = search.plateau.reached(costs[: step + 1, rows])
            self._keep(latents, rows, confidence, valid, done, latest=costs is not None)
            if step == search.max_steps or bool(done.all()):
                return
            (gradient,) = torch.autograd.grad(total, point)
            if bool(done.any()):  # otherwise no row leaves the batch, and the copies would be wasted
                searching = ~done
                rows, latents, gradient = (values[searching] for values in (rows, latents, gradient))
                steps.only(searching)
            latents = latents - steps.along(gradient)
            if search.project is not None:
                latents = search.project(latents, rows)
            problem.steps[rows.cpu()] += 1

    def _keep(
        self, latents: Tensor, rows: Tensor, confidence: Tensor, valid: Tensor, done: Tensor, *, latest: bool
    ) -> None:
        """Keep the latents of the rows whose best point they are so far; if the `latest` is to be kept, of all."""
        before = self.valid[rows]
        better = done | (valid & ~before) | (~before & (confidence > self.confidence[rows]))
        if latest:
            better = torch.ones_like(better)
        self.best[rows[better]] = latents[better]
        self.confidence[rows[better]] = confidence[better]
        self.valid[rows[valid]] = True
        self.done[rows[done]] = True
