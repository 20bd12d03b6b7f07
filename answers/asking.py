"""Makes questions: asks the classifier once what it sees in images, and decides what is asked of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..counterfactuals.problem import ModelError
from .bisecting import bisected
from .question import Question, QuestionBatch, Source
from .region import Within
from .seen import probabilities_of, seen_in
from .wanted import Wanted

Choose = Callable[[int, Tensor], Sequence[Wanted]]
"""choose(row, probabilities (K,)) -> what is asked of an image, a question each; empty: nothing"""


def ask(
    bundle: Bundle,
    images: Tensor,
    sources: Sequence[Source],
    wanted: Sequence[Wanted] | Choose,
    within: Sequence[Within | None] | None = None,
    *,
    finds_region: bool = False,
) -> QuestionBatch:
    """Make questions about images.

    Args:
        bundle: holds the classifier.
        images: (N, C, H, W) in [0, 1] on the bundle's device.
        sources: where the N images come from.
        wanted: what is asked of each, or a function that decides by what the classifier sees.
        within: where each may change; None: everywhere.
        finds_region: as in `Question`.

    Raises:
        ModelError: the classifier returns NaN or infinity.
    """
    probabilities = probabilities_of(bundle.classifier, images)
    factuals, classes = seen_in(probabilities, bundle.classes), bundle.classes
    choose = as_choice(wanted)
    questions: list[Question] = []
    rows: list[int] = []
    targets: list[int] = []
    for row, seen in enumerate(factuals):
        for each in choose(row, probabilities[row]):
            labels = each.targets(probabilities[row], bundle)
            among = tuple(classes[label] for label in labels)
            questions.append(
                Question(
                    source=sources[row],
                    factual=seen,
                    target=among[0],
                    goal=each.goal,
                    asked=each.wording(among, classes),
                    among=among if len(among) > 1 else (),
                    within=None if within is None else within[row],
                    finds_region=finds_region,
                )
            )
            rows.append(row)
            targets.append(labels[0])
    asked = images if rows == [*range(len(images))] else images[rows]
    return QuestionBatch(questions, asked, torch.tensor(targets, dtype=torch.int64, device=images.device))


def as_choice(wanted: Sequence[Wanted] | Choose) -> Choose:
    """What is asked of each image, as a function."""
    return wanted if callable(wanted) else lambda row, _: [wanted[row]]


def ask_each(
    bundle: Bundle,
    images: Tensor,
    sources: Sequence[Source],
    wanted: Sequence[Wanted] | Choose,
    within: Sequence[Within | None] | None = None,
    *,
    finds_region: bool = False,
) -> tuple[QuestionBatch, dict[int, ModelError]]:
    """Make questions as `ask` does; an image on which the classifier fails costs only its own.

    Returns:
        The questions, and the errors by the rows of their images.
    """
    choose = as_choice(wanted)

    def some(rows: Sequence[int]) -> QuestionBatch:
        return ask(
            bundle,
            images[list(rows)],
            [sources[row] for row in rows],
            lambda row, probabilities: choose(rows[row], probabilities),
            None if within is None else [within[row] for row in rows],
            finds_region=finds_region,
        )

    done = [*bisected(range(len(images)), some)] if len(images) else []
    failed = {rows[0]: each for rows, each in done if isinstance(each, ModelError)}
    nothing = QuestionBatch([], images[:0], torch.zeros(0, dtype=torch.int64, device=images.device))
    return reduce(add, [each for _, each in done if isinstance(each, QuestionBatch)], nothing), failed
