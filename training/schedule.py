"""Which parts a time budget is enough for, and how it is divided among them, by the speed of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from ..progress import in_minutes
from .budget import Budget, Share
from .context import TrainingContext
from .needed import seconds_per_weight
from .part import Part
from .parts import wanted_by

SPENT = "spent.json"  # the time spent, beside the checkpoints


class Schedule:
    """The time of a session.

    Args:
        context: of the session.
        seconds: of the budget.
        began: start of the budget's time, on `time.monotonic`'s clock.
    """

    def __init__(self, context: TrainingContext, seconds: float, began: float) -> None:
        self.context = context
        self.seconds = seconds
        self.began = began

    def affordable(self, parts: list[Part]) -> list[Part]:
        """The parts without those that take long, if the time is not enough for all; the bundle wants them no more.

        It is enough if the smallest networks of those that take long can be trained in it.
        """
        bundle, seconds = self.context.bundle, self.seconds
        patient = [part for part in parts if part.patient]
        saved = sum((1 - part.least) * self._seconds_needed([part]) for part in patient)
        if not patient or self._seconds_needed(parts) - saved <= seconds:
            return parts
        names = [name for part in patient for name in part.makes]
        bundle.update(wanted=tuple(name for name in wanted_by(bundle.file) if name not in names))
        for name in names:
            self.context.progress.note(
                f"{name} is left out, because {in_minutes(seconds)} are not enough for it; "
                f"`cfx train {bundle.directory} --only {name}` makes it later"
            )
        return [part for part in parts if not part.patient]

    def _shares(self, parts: Sequence[Part]) -> dict[str, Share]:
        """The share of each fit of some parts."""
        return {
            label: Share(weight=weight, classifies=part.classifies)
            for part in parts
            for label, weight in part.fits(self.context.present).items()
        }

    @cached_property
    def seconds_per_weight(self) -> float:
        """The speed of this machine, measured once."""
        train = self.context.split.train
        return seconds_per_weight(self.context.recipe, train.images.shape[1:], len(train))

    def _seconds_needed(self, parts: Sequence[Part]) -> float:
        """About how long the whole training of some parts takes here."""
        return self.seconds_per_weight * sum(share.weight for share in self._shares(parts).values())

    def budget(self, parts: Sequence[Part], command: str) -> Budget:
        """The time budget of some parts, and a note if it is not enough for their whole training."""
        context, seconds = self.context, self.seconds
        budget = Budget(seconds, self._shares(parts), context.checkpoints / SPENT, command=command, began=self.began)
        if budget.spent < seconds / 10:  # not when training is resumed
            needed = self._seconds_needed(parts)
            if needed > seconds:
                context.progress.note(
                    f"the whole training takes up to about {in_minutes(needed)} on this machine; within "
                    f"{in_minutes(seconds)} it is cut short, the generative models most: judges come first"
                )
        return budget
