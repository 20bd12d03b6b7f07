"""The trial of reachability at the end of a training: how often an engine turns images of one class into another."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from ..answers.asking import ask
from ..answers.loop import AnswerLoop, Failed
from ..answers.pipeline import AnswerOptions
from ..answers.question import Source
from ..answers.seen import probabilities_of
from ..answers.wanted import Wanted
from ..bundles.bundle import Bundle
from ..bundles.entries import Reached, ReachEntry
from ..counterfactuals.engine import Engine

IMAGES_OF_CLASS = 20  # held-out images to ask about, for each class
EACH = 5  # questions for each pair of classes
MAX_QUESTIONS = 500  # questions in all
LONGEST = 300.0  # seconds for all of them, unless a budget says less
BATCH_SIZE = 16  # questions after which the time is looked at


def try_pairs(
    bundle: Bundle,
    engine: Engine,
    images: Tensor,
    *,
    seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> ReachEntry | None:
    """Ask an engine for every class from every class, as often as there are images and time.

    A target is reached where the answer is valid, and the judge sees the target too, if the bundle's judge is of use.

    Args:
        bundle: holds the classifier and the judge.
        engine: to try.
        images: (N, C, H, W) in [0, 1], on which no part was trained.
        seconds: for all of it; None for `LONGEST`.
        clock: gives the time in seconds.

    Returns:
        How often each target was reached; None if there was no time for any question, or the engine fails.
    """
    tried = bundle.file.trial.get(engine.name)
    began, longest = clock(), 0.0 if tried is None else tried.seconds * BATCH_SIZE
    limit = LONGEST if seconds is None else min(seconds, LONGEST)
    rows, seen, targets = questions_between(bundle, images)
    asked: dict[tuple[int, int], list[bool]] = {}
    loop = AnswerLoop(bundle, {engine.name: engine}, AnswerOptions(metrics=frozenset(("judge_agrees",))), bisects=False)
    for start in range(0, len(rows), BATCH_SIZE):
        now = clock()
        if now - began + longest >= limit:
            break
        some = slice(start, start + BATCH_SIZE)
        pairs = [*zip(seen[some].tolist(), targets[some].tolist(), strict=True)]
        sources = [Source(name=f"held-out image {row}") for row in rows[some].tolist()]
        wanted = [Wanted("target", (target,)) for _, target in pairs]
        batch = ask(bundle, images[rows[some]].to(bundle.device), sources, wanted)
        for pair, result in zip(pairs, loop.answer(engine.name, batch), strict=True):
            if isinstance(result, Failed):
                return None
            answer = result.answers[0]
            asked.setdefault(pair, []).append(answer.valid and answer.metrics["judge_agrees"] is not False)
        longest = max(longest, clock() - now)
    if not asked:
        return None
    counts = {pair: Reached(asked=len(each), reached=sum(each)) for pair, each in sorted(asked.items())}
    return ReachEntry(engine=engine.name, confidence=engine.confidence, pairs=counts)


def questions_between(bundle: Bundle, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """At most `EACH` questions for each pair of classes and `MAX_QUESTIONS` in all, every pair once before any again.

    Returns:
        (Q,) index of each question's image, (Q,) the class seen in it, and (Q,) the target.
    """
    batches = images.split(BATCH_SIZE)
    seen = torch.cat([probabilities_of(bundle.classifier, each.to(bundle.device)).argmax(dim=1) for each in batches])
    of_class = {label: (seen.cpu() == label).nonzero().flatten().tolist() for label in bundle.present}
    pairs = [(one, other) for one in bundle.present for other in bundle.present if one != other]
    generator = torch.Generator().manual_seed(0)
    found: list[tuple[int, int, int]] = []
    for number in range(EACH):
        for place in torch.randperm(len(pairs), generator=generator).tolist():
            label, target = pairs[place]
            there = of_class[label]
            if number < len(there):  # other targets are asked of other images
                found.append((there[(number + target) % len(there)], label, target))
    rows, classes, targets = torch.tensor(found[:MAX_QUESTIONS], dtype=torch.int64).view(-1, 3).unbind(dim=1)
    return rows, classes, targets
