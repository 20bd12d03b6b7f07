"""Sets: several different answers to one question, of which the first is the one that would be given alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..classifiers.introspection.features import PenultimateFeatures
from ..counterfactuals.engine import Counterfactuals, Engine
from ..counterfactuals.request import SearchRequest
from .question import QuestionBatch
from .searching import order_of, search

ATTEMPTS = 2  # searches for each answer that is wanted, so that there is a choice
FARTHEST = 2.0  # times the first answer's L1 distance from the factual, beyond which others are too far
LEAST_APART = 0.1  # of that distance, by which answers differ at least


@dataclass(frozen=True)
class AnswerSets:
    """The counterfactuals of a batch of questions, of each one or several.

    Attributes:
        batch: the question of each counterfactual, which repeats.
        found: the counterfactuals.
        places: of each among the answers to its question, from 1.
        counts: of all answers to its question.
        diversity: of the answers to its question, their mean L1 distance from each other; None if it is the only one.
    """

    batch: QuestionBatch
    found: Counterfactuals
    places: Sequence[int]
    counts: Sequence[int]
    diversity: Sequence[float | None]


def search_sets(bundle: Bundle, engine: Engine, batch: QuestionBatch, request: SearchRequest, count: int) -> AnswerSets:
    """Search for `count` different counterfactuals of each question.

    The engine is asked several times, and begins elsewhere each time. The first answer is that of the first attempt.
    The others are chosen one by one from the valid ones that are near enough, always the one that is farthest from
    those that are chosen already (Gonzalez 1985), in the classifier's own features. No judge has a say.

    Args:
        bundle: holds the classifier.
        engine: the engine.
        batch: the N questions.
        request: for the batch.
        count: number of answers to each. Where fewer are found, the answers have a note about it.
    """
    if count == 1:
        batch, found = search(bundle, engine, batch, request)
        return AnswerSets(batch, found, [1] * len(batch), [1] * len(batch), [None] * len(batch))
    attempts: list[tuple[QuestionBatch, Counterfactuals]] = []
    calls = 0
    for _ in range(ATTEMPTS * count):
        earlier = torch.stack([each.images for _, each in attempts], dim=1) if attempts else None
        attempts.append(search(bundle, engine, batch, replace(request.counting_from(calls), earlier=earlier)))
        calls += int(attempts[-1][1].forward_calls.sum())
    found = Counterfactuals.joined([each for _, each in attempts])
    features = features_of(bundle, found.images)
    questions = [question for asked, _ in attempts for question in asked.questions]
    chosen: list[list[int]] = []
    for row in range(len(batch)):
        indices = list(range(row, len(found), len(batch)))
        chosen.append(choose(found.only(indices), batch.images[row], features[indices], count))
        chosen[-1] = [indices[index] for index in chosen[-1]]
    flat = [index for indices in chosen for index in indices]
    rows = [row for row, indices in enumerate(chosen) for _ in indices]
    owner = torch.arange(len(found)) % len(batch)
    costs = found.only(range(len(batch))).with_costs_of(found, owner)
    answers = found.only(flat).with_costs_of(costs.only(rows), torch.arange(len(flat)))
    short = {row for row, indices in enumerate(chosen) if len(indices) < count}
    short -= {row for row, question in enumerate(batch.questions) if question.is_met(engine.confidence)}
    few = [index for index, row in enumerate(rows) if row in short]
    note = f"{count} different answers were asked for; no more than these were found in {len(attempts)} searches"
    images = batch.images[rows]
    return AnswerSets(
        QuestionBatch([questions[index] for index in flat], images, answers.targets),
        answers.noting(few, note),
        [place + 1 for indices in chosen for place in range(len(indices))],
        [len(indices) for indices in chosen for _ in indices],
        [diversity(found.images[indices]) for indices in chosen for _ in indices],
    )


def choose(found: Counterfactuals, factual: Tensor, features: Tensor, count: int) -> list[int]:
    """The answers to one question, the first attempt's first if it is valid; its only one if none is.

    Args:
        found: of the attempts.
        factual: (C, H, W).
        features: (A, F) of the attempts' images.
        count: number of answers at most.
    """
    first = 0 if bool(found.valid[0]) else order_of(found, factual.expand_as(found.images))[0]
    if not bool(found.valid[first]):
        return [0]
    length = distances(found.images, factual[None])[:, 0]
    apart = distances(found.images, found.images)
    gaps = torch.cdist(features, features)
    chosen = [first]
    while len(chosen) < count:
        open_ones = found.valid & (length <= FARTHEST * length[first])
        open_ones &= (apart[:, chosen] > LEAST_APART * length[first]).all(dim=1)
        if not bool(open_ones.any()):
            break
        nearest = gaps[:, chosen].amin(dim=1)
        chosen.append(int(torch.where(open_ones, nearest, -1.0).argmax()))
    return chosen


def features_of(bundle: Bundle, images: Tensor) -> Tensor:
    """The classifier's penultimate features (N, F) of images (N, C, H, W); their pixels, where it shows none."""
    reader = PenultimateFeatures(bundle.classifier, images[:1])
    if reader.layer is None:
        return images.flatten(1)
    with torch.no_grad():
        return torch.cat([reader(some)[0] for some in images.split(256)])


def distances(images: Tensor, others: Tensor) -> Tensor:
    """The L1 distances (N, M) between images (N, C, H, W) and others (M, C, H, W)."""
    return torch.cdist(images.flatten(1), others.flatten(1), p=1)


def diversity(images: Tensor) -> float | None:
    """The mean L1 distance of images (K, C, H, W) from each other; None for fewer than two."""
    if len(images) < 2:
        return None
    return float(distances(images, images).sum() / (len(images) * (len(images) - 1)))
