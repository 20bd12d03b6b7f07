"""Small leaps along a velocity field, as LeapFactual makes them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...generative.velocity import VelocityField
from ..curve import Curve
from ..preset import Preset
from ..problem import ModelError, Problem

LANDING_OF_AN_INJECTION = 1.025  # of the speed at which it lifts (Cao et al. 2025, code for Galaxy10)
RESTART_STD_SCALED = 0.2  # of values in [-1, 1], for further answers
LEAP_FACTUAL = Preset(
    settings={
        "leaps": 15,
        "speed": 0.1,
        "injections": 5,
        "lift_steps": 5,
        "land_steps": 5,
        "tightened": False,
    },
    published="the target is predicted in 98.8 %, with injection in 99.1 % (notebook of the code, Morpho-MNIST)",
    differs="the field is a U-Net on pixels, where the paper has a small network on the latents of a VAE, and Heun's "
    "method has 5 steps instead of a tolerance",
)


@dataclass(frozen=True, kw_only=True)
class SmallLeaps:
    """A leap lifts an image over all levels of noise at a share of the velocity, and lands it the same way.

    An image is lifted under the probabilities that the classifier gives it by then, and lands under the target alone.
    Where the classifier sees the target, lifting and landing cancel, so that the image hardly moves any more. Nothing
    stops the leaps. *Injections* are leaps at full speed afterwards, which land a little faster than they lifted.

    Source: Cao et al. 2025, LeapFactual, arXiv 2510.14623, algorithms 1 and 2, and its code, whose field is that of
    the latents of a VAE.

    Attributes:
        field: whose images are scaled to [-1, 1].
        count: number of small leaps.
        speed: share of the velocity in a small leap.
        injections: number of leaps at full speed.
        lift_steps, land_steps: of Heun's method, over all levels.
    """

    field: VelocityField
    count: int
    speed: float
    injections: int
    lift_steps: int
    land_steps: int

    def curve(self, problem: Problem) -> Curve:
        """The curve from the factuals through the image after each leap to the last one."""
        rows = problem.every_row()
        target = F.one_hot(problem.targets, self.field.classes).to(problem.images)
        speeds = [(self.speed, self.speed)] * self.count + [(1.0, LANDING_OF_AN_INJECTION)] * self.injections
        states = [problem.restarted(problem.images * 2 - 1, RESTART_STD_SCALED)]
        for lift, land in speeds:
            seen = problem.condition(problem.log_probabilities(states[-1] / 2 + 0.5, rows))
            lifted = self._moved(states[-1], seen, up=True, speed=lift)
            states.append(self._moved(lifted, target, up=False, speed=land))
            problem.steps[rows.cpu()] += 1
        if not torch.isfinite(states[-1]).all():
            raise ModelError("the part matching returned NaN or infinity: check its weights")
        images = torch.stack([problem.images, *((state / 2 + 0.5).clamp(0, 1) for state in states[1:])])

        def draw(t: Tensor, rows: Tensor) -> Tensor:
            place = t * (len(images) - 1)
            before = place.floor().long().clamp(max=len(images) - 2)
            share = (place - before)[:, None, None, None]
            return torch.lerp(images[before, rows], images[before + 1, rows], share)

        return Curve(draw)

    def _moved(self, states: Tensor, condition: Tensor, *, up: bool, speed: float) -> Tensor:
        """States (N, C, h, w) after following the field over all levels, up or down, at a share of the velocity."""
        none, all_levels = states.new_zeros(len(states)), states.new_ones(len(states))
        start, end = (none, all_levels) if up else (all_levels, none)
        steps = self.lift_steps if up else self.land_steps
        return self.field.integrate(states, start, end, condition, steps=steps, speed=speed)
