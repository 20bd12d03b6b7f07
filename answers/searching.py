"""Searches for the counterfactuals of a batch of questions: of each the nearest, or nothing to change."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..counterfactuals.curve import About
from ..counterfactuals.engine import Counterfactuals, Engine
from ..counterfactuals.goal import TargetClass
from ..counterfactuals.problem import Candidates, as_written
from ..counterfactuals.request import SearchRequest
from ..counterfactuals.tightening import PATH_FRAMES
from .question import QuestionBatch, indices_of
from .region import Within, where_it_changes
from .seen import probabilities_of

NOTHING_INSIDE = "mask auto: inside the region that changed most, nothing valid was found; the whole image may change"
NOT_TYPICAL = (
    "style human: no answer was found that is as typical of the target as the classifier's own training images are; "
    "this is the smallest change"
)


def search(
    bundle: Bundle, engine: Engine, batch: QuestionBatch, request: SearchRequest
) -> tuple[QuestionBatch, Counterfactuals]:
    """Search for the counterfactuals of questions with one engine.

    A question with several targets is searched for each, and the nearest valid counterfactual is its answer. A factual
    that meets its goal already is an answer as it is. Where the region is to be found, a second search may change only
    what the first one changed most; if nothing valid is found there, the first one stays the answer.

    Args:
        bundle: holds the classifier.
        engine: the engine.
        batch: the N questions.
        request: for the batch, as `AnswerOptions.request` makes it.

    Returns:
        The questions with the targets and the regions of their answers, and the counterfactuals, one row per question.
    """
    batch, found = nearest(bundle, engine, batch, request)
    if not any(question.finds_region for question in batch.questions):
        return batch, found
    changed = (found.images - batch.images).abs().amax(dim=(1, 2, 3)) > 0
    rows = [
        row
        for row, (question, good) in enumerate(zip(batch.questions, (found.valid & changed).tolist(), strict=True))
        if question.finds_region and good
    ]
    if not rows:
        return batch, found
    masks = where_it_changes(batch.images[rows], found.images[rows])
    again = ask_engine(bundle, engine, replace(request.only(rows), targets=batch.targets[rows], region=masks))
    questions = list(batch.questions)
    for row, mask, valid in zip(rows, masks.cpu(), again.valid.tolist(), strict=True):
        if valid:
            questions[row] = replace(questions[row], within=Within("mask auto", mask))
    better = {row: index for index, row in enumerate(rows) if bool(again.valid[index])}
    answers = found.replaced(again, rows, better)
    left = [row for row in rows if row not in better]
    return QuestionBatch(questions, batch.images, batch.targets), answers.noting(left, NOTHING_INSIDE)


def ask_engine(bundle: Bundle, engine: Engine, request: SearchRequest) -> Counterfactuals:
    """One search of an engine; where no typical answer is found, the smallest change, with a note."""
    found = engine.answer(bundle.classifier, request)
    if request.typical is None or bool(found.valid.all()):
        return found
    rows = (~found.valid).nonzero().flatten().tolist()
    further = replace(request.only(rows).counting_from(int(found.forward_calls.sum())), typical=None)
    again = ask_engine(bundle, engine, further)
    answers = found.replaced(again, rows, {row: index for index, row in enumerate(rows)})
    return answers.noting([row for row in rows if bool(answers.valid[row])], NOT_TYPICAL)


def nearest(
    bundle: Bundle, engine: Engine, batch: QuestionBatch, request: SearchRequest
) -> tuple[QuestionBatch, Counterfactuals]:
    """The nearest valid counterfactual of each question, among its targets; as in `search`."""
    met = [row for row, question in enumerate(batch.questions) if question.is_met(engine.confidence)]
    closed = frozenset(met)
    count = 1 if engine.any_class else None
    asked = [
        (row, name)
        for row, question in enumerate(batch.questions)
        if row not in closed
        for name in question.targets[:count]
    ]
    if len(asked) == len(batch) and not met and not engine.any_class:  # one target each
        return batch, ask_engine(bundle, engine, request)
    rows, targets = [row for row, _ in asked], indices_of((name for _, name in asked), bundle)
    parts: list[Counterfactuals] = []
    calls = 0
    for start in range(0, len(rows), len(batch)):
        stop = start + len(batch)
        part = replace(request.only(rows[start:stop]), targets=targets[start:stop]).counting_from(calls)
        parts.append(ask_engine(bundle, engine, part))
        calls += int(parts[-1].forward_calls.sum())
    if met:
        parts.append(unchanged(bundle, engine, batch.only(met), path=request.path))
    found = Counterfactuals.joined(parts)
    owner = torch.tensor([*rows, *met], dtype=torch.int64)  # the question of each search
    best: dict[int, int] = {}
    for index in order_of(found, batch.images[owner.to(batch.images.device)]):
        best.setdefault(int(owner[index]), index)
    answers = found.only([best[row] for row in range(len(batch))]).with_costs_of(found, owner)
    questions = [
        replace(question, target=bundle.classes[target])
        for question, target in zip(batch.questions, answers.targets.tolist(), strict=True)
    ]
    return QuestionBatch(questions, batch.images, answers.targets), answers


def order_of(found: Counterfactuals, factuals: Tensor) -> list[int]:
    """The rows in the order in which they are preferred: valid ones by their distance, others by confidence."""
    distance = (found.images - factuals).abs().sum(dim=(1, 2, 3))
    worth = torch.where(found.valid, -distance, found.confidence - 1 - distance.max() * 2)
    return worth.argsort(descending=True, stable=True).tolist()


def unchanged(bundle: Bundle, engine: Engine, batch: QuestionBatch, *, path: bool) -> Counterfactuals:
    """The factuals as their own counterfactuals."""
    images = as_written(batch.images)
    targets = indices_of((question.factual.name for question in batch.questions), bundle)
    goal = TargetClass(targets, engine.confidence)
    every = torch.arange(len(batch), device=images.device)
    found = Candidates.of(images, probabilities_of(bundle.classifier, images).log(), goal, every)
    nothing = torch.zeros(len(batch), dtype=torch.int64)
    return Counterfactuals(
        **vars(found),
        targets=targets,
        steps=nothing,
        forward_calls=nothing + 1,
        backward_calls=nothing,
        path=images[:, None].expand(-1, PATH_FRAMES, -1, -1, -1) if path else None,
        about=tuple(
            About(notes=(f"the model already sees {question.factual}: nothing needs to change",))
            for question in batch.questions
        ),
    )
