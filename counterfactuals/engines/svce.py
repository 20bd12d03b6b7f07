"""svce: towards the target within a ball of the norm L1.5 around the factual, as small a ball as is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..curve import Curve
from ..engine import Engine
from ..fidelity import Fidelity
from ..preset import PAPER, Preset
from ..problem import Problem
from ..settings import setting

P = 1.5  # the norm
TINY = 1e-30
RESTART_STD_PIXELS = 0.1  # of the range of a pixel from the factual, for further answers
MNIST = 784  # values of the image for which the radii are given
FIRST_CHECK, SHRINKS, SHORTEST = 0.22, 0.03, 0.06  # of the steps, as in AutoPGD
ENOUGH = 0.75  # share of the steps between two checks that must have improved the image
CODE = "Boreiko et al. 2022, code"
FIXED_RADIUS = Preset(
    settings={
        "radii": (9.0,),
        "bisections": 0,
        "max_steps": 75,
        "step": 0.75,
        "random_start": True,
        "early_stop": False,
        "tightened": False,
    },
    published="none on these data",
    differs="the radius: the paper's, 50 to 100 of 224x224 colour images, would be 1.5 to 3 of 28x28 grey ones, which "
    "shows little; 9 is ours",
)


@dataclass(frozen=True, kw_only=True)
class SparseVCE(Engine):
    """Maximises log p(target | x + d) subject to |d|_1.5 <= radius and x + d in [0, 1], by Auto-Frank-Wolfe.

    The norm lies between L1, whose solutions are single pixels, and L2, whose solutions are a haze: changes are few and
    large. Every step goes towards the point of the feasible set that the gradient favours most (`linear_step`), so that
    no projection is needed. The search in a ball stops at its first valid image, so that its answer is hardly surer
    than was asked for. Radii are tried upwards, and the smallest with a valid image is narrowed down by bisection.

    On a classifier that was trained as usual this finds adversarial noise. It explains robust classifiers, whose
    gradients show what their classes look like.

    Source: Boreiko et al. 2022, Sparse Visual Counterfactual Explanations in Image Space, arXiv 2205.07972,
    section 4 and algorithm 1. There the radius is fixed, the start is random, and the most confident image is kept:
    the preset `paper` does that.
    """

    name: ClassVar[str] = "svce"
    summary: ClassVar[str] = "first valid image in a small sparse ball, by Frank-Wolfe; for robust classifiers"
    paper: ClassVar[str] = "Boreiko et al. 2022, Sparse VCEs, arXiv 2205.07972"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "the paper fixes the radius, starts at random and keeps the most confident image; here the search starts "
        "at the factual and stops at the first image that reaches the confidence, and radii are tried upwards and"
        " halved",
    )
    presets: ClassVar[Mapping[str, Preset]] = {PAPER: FIXED_RADIUS}
    caution: ClassVar[str | None] = (
        "svce follows the classifier's own gradients: unless that is robust, as --classifier robust_classifier is, "
        "what it finds is adversarial noise"
    )
    candidate: ClassVar[bool] = False
    rank: ClassVar[int] = 70

    radii: tuple[float, ...] = setting(
        (3.0, 6.0, 12.0, 24.0),
        "radii that are tried upwards, of images of 28x28 grey pixels; in others times (values / 784)^(2/3)",
        least=0.01,
    )
    bisections: int = setting(
        4, "halvings between the last radius without a valid image and the first with one", least=0
    )
    max_steps: int = setting(75, "steps at most for each radius", source=CODE, least=1)
    step: float = setting(
        0.75, "first length of a step, of the way to the favoured point", source=CODE, least=0.01, most=1
    )
    random_start: bool = setting(
        False, "whether the search starts at a random image on the edge of the ball, instead of at the factual"
    )
    early_stop: bool = setting(
        True, "whether the search ends at its first valid image, instead of the surest one after all steps"
    )

    def find(self, problem: Problem) -> Curve:
        start = problem.images
        begin = problem.restarted(start, RESTART_STD_PIXELS).clamp(0, 1)
        scale = (start[0].numel() / MNIST) ** (1 / P)
        rows = problem.every_row()
        best, confidence = start.clone(), torch.full((len(rows),), -1.0, device=start.device)
        valid = torch.zeros(len(rows), dtype=torch.bool, device=start.device)
        low, high = start.new_zeros(len(rows)), start.new_zeros(len(rows))

        def search(radius: Tensor, rows: Tensor) -> Tensor:
            """Search the balls of radii (M,) of the questions `rows`; which of them hold a valid image, (M,) bool."""
            images, sure, good = self._climb(problem, begin[rows], radius, rows)
            better = good | (~valid[rows] & (sure > confidence[rows]))
            best[rows[better]], confidence[rows[better]] = images[better], sure[better]
            valid[rows[good]] = True
            return good

        for radius in self.radii:
            todo = rows[~valid]
            if not len(todo):
                break
            high[todo] = radius * scale
            good = search(high[todo], todo)
            low[todo[~good]] = high[todo[~good]]
        for _ in range(self.bisections):
            todo = rows[valid]
            middle = (low[todo] + high[todo]) / 2
            good = search(middle, todo)
            high[todo[good]], low[todo[~good]] = middle[good], middle[~good]
        return Curve(lambda t, rows: torch.lerp(start[rows], best[rows], t[:, None, None, None]), bisections=4)

    def _climb(self, problem: Problem, begin: Tensor, radius: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Auto-Frank-Wolfe in the balls of some questions, until each has a valid image or is out of steps.

        Args:
            problem: evaluates the candidates.
            begin: (M, C, h, w) where the search begins; moved into the ball.
            radius: (M,) of the balls.
            rows: (M,) the questions.

        Returns:
            The best images (M, C, h, w), the target's probability in each (M,), and whether it is valid (M,) bool.
        """
        factuals = problem.images[rows]
        flat = factuals.flatten(1)
        images = flat + self._first_change(problem, begin.flatten(1) - flat, flat, radius)
        best, best_cost = images.clone(), torch.full_like(radius, torch.inf)
        sure, done = torch.full_like(radius, -1.0), torch.zeros_like(radius, dtype=torch.bool)
        length, improved = torch.full_like(radius, self.step), torch.zeros_like(radius)
        reduced, before = torch.zeros_like(done), torch.full_like(radius, torch.inf)
        check, period = max(1, round(FIRST_CHECK * self.max_steps)), FIRST_CHECK * self.max_steps
        since = 0
        open_ones = torch.arange(len(rows), device=rows.device)
        for step in range(self.max_steps + 1):
            with torch.enable_grad():
                point = images[open_ones].detach().requires_grad_(True)
                shaped = point.view(-1, *factuals.shape[1:])
                log_probabilities = problem.log_probabilities(shaped, rows[open_ones])
                cost = problem.cost(log_probabilities, rows[open_ones])
                total = cost.sum()
            valid, confidence = problem.met(log_probabilities, rows[open_ones])
            if bool(valid.any()):  # an image must still be valid after rounding to 8 bits
                rounded = problem.candidates(shaped[valid].detach(), rows[open_ones][valid])
                valid[valid.clone()] = rounded.valid
            cost = cost.detach()
            better = cost < best_cost[open_ones]
            if self.early_stop:
                better |= valid
            improved[open_ones] += better
            kept = open_ones[better]
            best[kept], best_cost[kept], sure[kept] = images[kept], cost[better], confidence[better]
            done[kept] = valid[better]
            if step == self.max_steps or (self.early_stop and bool(done.all())):
                break
            (gradient,) = torch.autograd.grad(total, point)
            if self.early_stop:
                open_ones, gradient = open_ones[~valid], gradient[~valid]
            favoured = flat[open_ones] + linear_step(-gradient, flat[open_ones], radius[open_ones])
            images[open_ones] = torch.lerp(images[open_ones], favoured, length[open_ones, None])
            problem.steps[rows[open_ones].cpu()] += 1
            since += 1
            if step + 1 == check:
                stuck = (improved < ENOUGH * since) | (~reduced & (before <= best_cost))
                length = torch.where(stuck, length / 2, length)
                images = torch.where(stuck[:, None], best, images)
                reduced, before = stuck, best_cost.clone()
                improved, since = torch.zeros_like(improved), 0
                period = max(period - SHRINKS * self.max_steps, SHORTEST * self.max_steps)
                check += max(1, round(period))
        return best.view_as(factuals), sure, done

    def _first_change(self, problem: Problem, change: Tensor, flat: Tensor, radius: Tensor) -> Tensor:
        """Where the search in balls of radii (M,) starts, as changes (M, D) of the factuals `flat` (M, D).

        Args:
            problem: has the random numbers, the same for every image.
            change: (M, D) from the factuals to where the search would start outside of the ball.
        """
        if not self.random_start:
            return within_ball(change, radius)
        direction = torch.randn(flat.shape[1], generator=problem.random(), device="cpu").to(flat)
        return linear_step(direction.expand_as(flat), flat, radius)


def within_ball(change: Tensor, radius: Tensor) -> Tensor:
    """Changes (M, D) shortened to the norm L1.5 of balls with radii (M,), where they are longer."""
    norm = change.abs().pow(P).sum(dim=1).pow(1 / P).clamp(min=1e-12)
    return change * (radius / norm).clamp(max=1)[:, None]


def linear_step(favour: Tensor, images: Tensor, radius: Tensor) -> Tensor:
    """The change d that maximises <favour, d> subject to |d|_1.5 <= radius and images + d in [0, 1].

    Without the ball, every value would go as far as it has room, r. With it,
    d = sign(w) min(r, (|w| / (p m))^(1 / (p-1))) with the multiplier m at which the ball is exactly reached. The values
    that have no room left at m are those with the largest |w| / (p r^(p-1)), so sorting by that gives m in closed form.

    Source: Boreiko et al. 2022, proposition 4.1 and algorithm 2, for p = 1.5: then 1 / (p-1) = 2.

    Args:
        favour: (M, D), w.
        images: (M, D) in [0, 1].
        radius: (M,).

    Returns:
        (M, D); zero where `favour` is.
    """
    wide = torch.float32 if favour.device.type == "mps" else torch.float64
    size = favour.abs().to(wide)
    size = size / size.amax(dim=1, keepdim=True).clamp(min=TINY)  # only the direction counts
    room = torch.where(favour > 0, 1 - images, images).to(wide) * (size > 0)
    limit = radius.to(wide).pow(P)[:, None]
    breakpoints = torch.where(room > 0, size / (P * room.clamp(min=TINY).sqrt()), torch.inf)
    order = breakpoints.argsort(dim=1, descending=True)
    full = room.pow(P).gather(1, order).cumsum(dim=1)  # of the values up to this one, at the end of their room
    free = size.pow(3).gather(1, order)
    free = free.sum(dim=1, keepdim=True) - free.cumsum(dim=1)  # of the values after it, which have room left
    # With the first k values at the end of their room, m = (free_k / (limit - full_k))^(1/3) / p must lie between the
    # breakpoints of the k-th and the next value. The norm falls with m, so the k that fits is the number of values at
    # whose own breakpoint the ball is not yet full.
    sorted_points = breakpoints.gather(1, order)
    norm_at = full + free.clamp(min=0) / (P * sorted_points).pow(3)
    count = (norm_at <= limit).sum(dim=1, keepdim=True)
    zero = torch.zeros_like(limit)
    full_k = torch.cat([zero, full], dim=1).gather(1, count)
    free_k = torch.cat([size.pow(3).sum(dim=1, keepdim=True), free.clamp(min=0)], dim=1).gather(1, count)
    multiplier = (free_k / (limit - full_k).clamp(min=TINY)).pow(1 / 3) / P
    change = torch.minimum(room, (size / (P * multiplier.clamp(min=TINY))).square())
    everything = room.pow(P).sum(dim=1, keepdim=True) <= limit
    return (favour.sign() * torch.where(everything, room, change)).to(favour)
