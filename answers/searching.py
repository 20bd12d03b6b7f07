"""Searches for the counterfactuals of a batch of questions: of each the nearest, or nothing to change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..counterfactuals.engine import Counterfactuals, Engine
from ..counterfactuals.goal import TargetClass
from ..counterfactuals.problem import Candidates, as_written
from ..counterfactuals.tightening import PATH_FRAMES, About
from .question import QuestionBatch, indices_of
from .seen import probabilities_of

Watch = Callable[[int], None]


def search(
    bundle: Bundle, engine: Engine, batch: QuestionBatch, *, path: bool, seed: int, watch: Watch | None
) -> tuple[QuestionBatch, Counterfactuals]:
    """Search for the counterfactuals of questions with one engine.

    A question with several targets is searched for each, and the nearest valid counterfactual is its answer. A factual
    that meets its goal already is an answer as it is.

    Args:
        bundle: holds the classifier.
        engine: the engine.
        batch: the N questions.
        path, seed, watch: as in `Engine.search`.

    Returns:
        The questions with the targets of their answers, and the counterfactuals, one row per question.
    """
    met = [row for row, question in enumerate(batch.questions) if question.is_met(engine.confidence)]
    asked = [
        (row, name) for row, each in enumerate(batch.questions) if row not in set(met) for name in each.targets
    ]  # fmt: skip
    if len(asked) == len(batch) and not met:  # one target each
        found = engine.search(bundle.classifier, batch.images, batch.targets, path=path, seed=seed, watch=watch)
        return batch, found
    rows, targets = [row for row, _ in asked], indices_of((name for _, name in asked), bundle)
    parts: list[Counterfactuals] = []
    calls = 0
    for start in range(0, len(rows), len(batch)):
        some = slice(start, start + len(batch))
        told = None if watch is None else lambda count, before=calls: watch(before + count)
        parts.append(
            engine.search(bundle.classifier, batch.images[rows[some]], targets[some], path=path, seed=seed, watch=told)
        )
        calls += int(parts[-1].forward_calls.sum())
    if met:
        parts.append(unchanged(bundle, engine, batch.only(met), path=path))
    found = Counterfactuals.joined(parts)
    of = torch.tensor([*rows, *met], dtype=torch.int64)
    best: dict[int, int] = {}
    for place in order_of(found, batch.images[of.to(batch.images.device)]):
        best.setdefault(int(of[place]), place)
    answers = found.only([best[row] for row in range(len(batch))]).with_costs_of(found, of)
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
