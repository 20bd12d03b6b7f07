"""Landing along a velocity field: from a noised image to an image of the target class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...generative.velocity import Pull, VelocityField
from ..engine import Engine
from ..problem import ModelError, Problem
from ..settings import setting

SUMS_TO_ONE = 0.02  # how far a sum of stored probabilities may be from 1
RESTART_STD_NOISE = 0.7  # share of the noise, by its standard deviation, that is drawn anew in further attempts
READ_AT = 0.4  # level of noise at which the noise of a factual is read


@dataclass(frozen=True, kw_only=True)
class FieldEngine(Engine):
    """An engine that lands along the velocity field `matching`, and its settings for that."""

    matching: VelocityField
    melting: float = setting(
        READ_AT, "highest level of noise at which what has landed is melted; 0: it is not", least=0, most=1
    )
    lift_steps: int = setting(2, "steps of the solver from a level to the next", least=1)
    land_steps: int = setting(4, "steps of the solver from a level down to the image", least=1)
    melt_steps: int = setting(3, "steps of the solver when melting", least=1)
    tolerance: float = setting(
        0.05, "changes of a pixel below this, of 1, are the solver's error and taken back", least=0, most=1
    )


class Landing:
    """Lands the images of a batch of questions under their targets.

    To *lift* an image is to integrate the velocity field from it up to a level of noise; to *land* is to integrate from
    that level back to an image. An image generated from another noise level than it was lifted to is slightly blurred;
    it is *refined* by SDEdit: noised to a low level (the setting `melting`), with the noise into which the factual
    itself is lifted, and denoised again. Where nothing has changed, this gives the factual's own pixels back; elsewhere
    it restores fine detail.

    Args:
        engine: the field and the settings.
        problem: the questions.

    Raises:
        ModelError: the field's conditions are not probabilities.

    Attributes:
        origin: (N, L) the field's condition for the factuals: what the classifier sees in them.
        wanted: (N, L) the field's condition for the targets.
        first: (M,) one question about each different image.
        image_index: (N,) the index of each question's image among those.
    """

    def __init__(self, engine: FieldEngine, problem: Problem) -> None:
        self.engine, self.problem = engine, problem
        self.field = engine.matching
        rows = problem.every_row()
        self.origin = problem.condition(problem.log_probabilities(problem.images, rows))
        self.wanted = self.field.typical[problem.targets]
        for condition in (self.origin, self.wanted):
            if not (bool((condition >= 0).all()) and bool(((condition.sum(dim=1) - 1).abs() < SUMS_TO_ONE).all())):
                raise ModelError("the part matching is conditioned on what are no probabilities: train it anew")
        _, self.image_index = torch.unique(problem.images.flatten(1), dim=0, return_inverse=True)
        self.first = torch.zeros(int(self.image_index.max()) + 1, dtype=torch.int64, device=rows.device)
        self.first[self.image_index.flip(0)] = rows.flip(0)

    @cached_property
    def noise(self) -> Tensor:
        """The noise into which each different image is lifted, (M, C, h, w): e in x_s = (1 - s) x + s e."""
        start = self.problem.images[self.first] * 2 - 1
        low, steps = torch.zeros(len(start), device=start.device), 2 * self.engine.lift_steps
        lifted = self.field.integrate(start, low, low + READ_AT, self.origin[self.first], steps=steps)
        return (lifted - (1 - READ_AT) * start) / READ_AT

    def noised(self, scaled: Tensor, level: Tensor, rows: Tensor) -> Tensor:
        """Images (M, C, h, w), scaled to [-1, 1], of the questions `rows`, mixed with their factuals' noise.

        As in SDEdit (Meng et al. 2022, arXiv 2108.01073), but with noise that leads back to the factual.
        """
        return torch.lerp(scaled, self.noise[self.image_index[rows]], level[:, None, None, None])

    def restarted(self, states: Tensor, level: Tensor, rows: Tensor) -> Tensor:
        """The states (M, C, h, w) of the questions `rows` at levels (M,), in further attempts with other noise."""
        if not self.problem.attempt:
            return states
        noise = self.noise[self.image_index[rows]]
        fresh = torch.randn(noise.shape[1:], generator=self.problem.random(), device="cpu").to(noise)
        other = (1 - RESTART_STD_NOISE**2) ** 0.5 * noise + RESTART_STD_NOISE * fresh
        return states + level[:, None, None, None] * (other - noise)

    def landed(
        self, states: Tensor, level: Tensor, rows: Tensor, guidance: Tensor, pull: Tensor | None = None
    ) -> Tensor:
        """Images (M, C, h, w) in [0, 1] of the questions `rows`, landed from states at levels (M,), and refined.

        Args:
            states: (M, C, h, w).
            level: (M,).
            rows: (M,).
            guidance: (M,) weights of the condition.
            pull: (M,) how strongly the factuals pull, as in `Pull`; None: not at all.

        Raises:
            ModelError: the field gives NaN or infinity.
        """
        wanted, zero, engine = self.wanted[rows], torch.zeros_like(level), self.engine
        near = None if pull is None else Pull(self.problem.images[rows] * 2 - 1, pull)
        landed = self.field.integrate(
            states, level, zero, wanted, steps=engine.land_steps, guidance=guidance, pull=near
        )
        if engine.melting:
            low = level.clamp(max=engine.melting)
            mixed = self.noised(landed.clamp(-1, 1), low, rows)
            landed = self.field.integrate(mixed, low, zero, wanted, steps=engine.melt_steps)
        if not torch.isfinite(landed).all():
            raise ModelError("the part matching returned NaN or infinity: check its weights")
        landed, factuals = (landed / 2 + 0.5).clamp(0, 1), self.problem.images[rows]
        changed = (landed - factuals).abs().amax(dim=1, keepdim=True) >= engine.tolerance
        return torch.where(changed, landed, factuals)
