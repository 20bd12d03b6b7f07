"""leap: forget the image up to a level of noise, and remember it as the target, pulled towards the image itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..curve import Curve
from ..fidelity import Fidelity
from ..preset import PAPER, Preset
from ..problem import Candidates, Problem
from ..search.landing import FieldEngine, Landing
from ..search.small_leaps import LEAP_FACTUAL, SmallLeaps
from ..settings import setting

RISEN = 0.5  # t on the curve from which on the level stays


@dataclass(frozen=True, kw_only=True)
class Leap(FieldEngine):
    """Lifts the factual to a level of noise along a velocity field, and lands under the target class.

    The lift follows the field that is conditioned on the classifier's own probabilities of the factual: landing under
    the same probabilities gives the factual back. Landing under the target's changes what the target needs. The higher
    the level, the more is forgotten. Levels are tried upwards, then again with more guidance, until one is valid.

    What lands there is a sample of the target class that owes little to the factual. It is therefore landed again while
    the factual pulls at it (`Pull`), as strongly as `bisections` of the pull show that it stays valid and, by `margin`,
    surer than was asked for: answers just above the threshold look real, and agree with other classifiers, less often.

    Landed images are then refined by SDEdit, as `Landing` describes.

    Source: Cao et al. 2025, LeapFactual, arXiv 2510.14623, which makes many small leaps in the latent space of a
    VAE, each a lift over the whole time at a fraction of the velocity under the probabilities that the classifier gives
    by then, and a landing under the target. One leap, in pixels, to levels that are tried upwards, the guidance, the
    condition of a typical image of the target instead of a one-hot one, the pull, and refining are ours.
    """

    name: ClassVar[str] = "leap"
    summary: ClassVar[str] = "forget part of the image along a velocity field, and remember it as the target"
    paper: ClassVar[str] = "Cao et al. 2025, LeapFactual, arXiv 2510.14623"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "variant",
        "LeapFactual makes many small leaps in a VAE's latent space and asks the classifier again after each; "
        "here one lift and one landing in pixels, with guidance and refining, end at the first of a few levels "
        "that is valid, and the factual pulls at the answer while it lands",
    )
    presets: ClassVar[Mapping[str, Preset]] = {PAPER: LEAP_FACTUAL}
    rank: ClassVar[int] = 5
    needs: ClassVar[tuple[str, ...]] = ("matching",)
    gradients: ClassVar[bool] = False

    levels: tuple[float, ...] = setting(
        (0.7, 0.85, 1.0), "levels of noise to which the factual is lifted, upwards", least=0.01, most=1
    )
    guidance: tuple[float, ...] = setting(
        (2.0, 5.0), "weights of the condition when landing, tried one after the other", least=0
    )
    pull: float = setting(
        1.6, "strongest pull of the factual while landing, as a change of pixels from -1 to 1; 0: none", least=0, most=2
    )
    margin: float = setting(
        0.5,
        "how much surer than asked for an answer remains under the pull, as a share of the way to certainty",
        least=0,
        most=1,
    )
    bisections: int = setting(3, "halvings of the pull", least=0)

    leaps: int = setting(
        0, "small leaps over all levels, each with the classifier's answer by then; 0: one leap, as above", least=0
    )
    speed: float = setting(0.1, "share of the velocity in a small leap", source="LeapFactual, code", least=0, most=1)
    injections: int = setting(0, "leaps at full speed after the small ones, which make them surer", least=0)

    def find(self, problem: Problem) -> Curve:
        if self.leaps:
            return SmallLeaps(
                field=self.matching,
                count=self.leaps,
                speed=self.speed,
                injections=self.injections,
                lift_steps=self.lift_steps,
                land_steps=self.land_steps,
            ).curve(problem)
        lifted_states = LiftedStates(self, problem)
        best, chosen, guidance = self._first_valid(problem, lifted_states)
        highest = lifted_states.levels[chosen]

        # With t the level rises, under the strongest pull; from t = RISEN on the pull falls to nothing.
        def draw(t: Tensor, rows: Tensor) -> Tensor:
            level = highest[rows] * (t / RISEN).clamp(max=1)
            pull = self.pull * ((1 - t) / (1 - RISEN)).clamp(0, 1)
            states = lifted_states.restarted(lifted_states.at(level, rows), level, rows)
            return lifted_states.landed(states, level, rows, guidance[rows], pull)

        least = self.confidence + self.margin * (1 - self.confidence)
        bisections = self.bisections if self.pull else 0
        return Curve(draw, bisections=bisections, low=torch.full_like(highest, RISEN), end=best, least=least)

    def _first_valid(self, problem: Problem, lifted_states: LiftedStates) -> tuple[Candidates, Tensor, Tensor]:
        """The first valid landing of each image, or else the most convincing one.

        Returns:
            The candidates, and for each the number of its level (N,) and its guidance (N,).
        """
        rows = todo = problem.every_row()
        best: Candidates | None = None
        chosen, weight = torch.ones_like(rows), torch.full(rows.shape, self.guidance[0], device=rows.device)
        for guidance in self.guidance:
            for number in range(1, len(lifted_states.levels)):
                if not len(todo):
                    break
                level, weights = lifted_states.levels[number].expand(len(todo)), weight.new_full((len(todo),), guidance)
                states = lifted_states.restarted(lifted_states.lifted(number, todo), level, todo)
                found = problem.candidates(lifted_states.landed(states, level, todo, weights), todo)
                if best is None:
                    best, better = found, found.valid
                else:
                    better = found.valid | (found.confidence > best.confidence[todo])
                    best.replace(todo[better], found, better)
                chosen[todo[better]], weight[todo[better]] = number, guidance
                todo = todo[~found.valid]
        assert best is not None
        return best, chosen, weight


class LiftedStates(Landing):
    """The states of a batch's factuals at growing levels of noise, lifted when they are first needed.

    Several questions about one image share its states.

    Args:
        engine: its field and its settings.
        problem: the questions.

    Attributes:
        levels: 0 and the engine's levels, (L + 1,).
    """

    def __init__(self, engine: Leap, problem: Problem) -> None:
        super().__init__(engine, problem)
        start = problem.images[self.first] * 2 - 1
        self.levels = torch.tensor((0.0, *engine.levels), device=start.device)
        self.states = start.repeat(len(self.levels), 1, 1, 1, 1)
        self.reached = torch.zeros_like(self.first)  # number of the highest level to which each is lifted

    def lifted(self, number: int, rows: Tensor) -> Tensor:
        """The states (M, C, h, w) of questions (M,) at the level of this number."""
        images = self.image_index[rows]
        for step in range(1, number + 1):
            low = images[self.reached[images] < step].unique()
            if len(low):
                start, end = (self.levels[which].expand(len(low)) for which in (step - 1, step))
                self.states[step, low] = self.field.integrate(
                    self.states[step - 1, low], start, end, self.origin[self.first[low]], steps=self.engine.lift_steps
                )
                self.reached[low] = step
        return self.states[number, images]

    def at(self, level: Tensor, rows: Tensor) -> Tensor:
        """The states of questions (M,) at levels (M,), none of them higher than the first that was not lifted to."""
        number = torch.searchsorted(self.levels, level.contiguous(), right=True) - 1
        states, low = self.states[number, self.image_index[rows]], self.levels[number]
        between = (level > low).nonzero().flatten()
        if len(between):
            states[between] = self.field.integrate(
                states[between],
                low[between],
                level[between],
                self.origin[rows[between]],
                steps=self.engine.lift_steps,
            )
        return states
