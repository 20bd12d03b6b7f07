"""Real images of a run on which its counterfactuals are tested: those that asked no question."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from ..answers.question import Question
from ..bundles.bundle import Bundle
from ..errors import ImageError
from ..images.sets.labelled import Labelled
from ..metrics.scene import Missing, RealTests
from ..runs.inputs import Inputs
from .pool import as_bytes, pool_size

MOST = 10_000  # images that are read


class Unasked:
    """Labelled images that asked no question.

    Where fewer than half of the images asked none, these are too few to test on. Then the images with an odd index are
    taken instead, and the counterfactuals of the others are tested on them.

    Args:
        bundle: which classes can be targets.
        inputs: the images that the questions were sampled from; None if they are not known.
        questions: Q questions.
    """

    def __init__(self, bundle: Bundle, inputs: Inputs | None, questions: list[Question]) -> None:
        self.bundle = bundle
        self.inputs = inputs
        self.questions = questions

    def tests(self, chosen: Tensor) -> RealTests:
        """What the counterfactuals of the chosen questions (N,) are tested on.

        Raises:
            Missing: there are no images with labels.
        """
        images, apart = self._all
        return RealTests(images, apart[chosen])

    @cached_property
    def _all(self) -> tuple[Labelled, Tensor]:
        """The images, and for each question whether its image is none of them, (Q,) bool."""
        if self.inputs is None or self.inputs.labels is None:
            raise Missing("the images have no labels")
        places = {self.inputs.name(index): index for index in range(len(self.inputs))}
        asked = [places.get(question.source.name, -1) for question in self.questions]
        if min(asked) < 0:
            raise Missing("the images have other names than when the questions were sampled")
        free = torch.ones(len(places), dtype=torch.bool)
        free[asked] = False
        if 2 * int(free.sum()) < len(places):
            free = torch.arange(len(places)) % 2 == 1
        return self._read(self.inputs, free, self.inputs.labels), ~free[asked]

    def _read(self, inputs: Inputs, free: Tensor, labels: Tensor) -> Labelled:
        """Read images, except those of classes that no question can have as its target; of very many a random sample.

        Args:
            inputs: N images.
            free: (N,) bool, which of them may be read.
            labels: (N,) int64, their classes.
        """
        chosen = (free & torch.isin(labels, torch.tensor([*self.bundle.present]))).nonzero().squeeze(1)
        order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))
        images: list[Tensor] = []
        kept: list[int] = []
        for index in chosen[order[: min(MOST, pool_size(self.bundle, inputs))]].sort().values.tolist():
            try:
                images.append(as_bytes(inputs.read(index)))
                kept.append(index)
            except ImageError:  # was reported when the questions were sampled
                continue
        if not images:
            raise Missing("every image asked a question, and there are too few to test on half of them")
        return Labelled(torch.stack(images), self.bundle.labelling.labels_of(labels[kept]))
