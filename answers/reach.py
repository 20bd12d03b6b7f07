"""Reachability: which targets a bundle's engine seldom reaches, and what to ask for instead."""

from __future__ import annotations

from torch import Tensor

from ..bundles.bundle import Bundle
from ..bundles.entries import Reached, ReachEntry
from .question import Question, indices_of
from .seen import probabilities_of

MIN_QUESTIONS = 3  # questions about a pair that say something
FAR, NEAR = 0.5, 0.8  # shares of the questions: a target below the first is far, one from the second on is near
SUGGESTED = 3


def far_note(bundle: Bundle, question: Question, image: Tensor) -> str | None:
    """What to tell the user before a search for a target that is seldom reached; None if it is reached, or unknown.

    Args:
        bundle: with its own trial of reachability.
        question: about the image.
        image: (C, H, W) in [0, 1].
    """
    reach = bundle.file.reach
    if reach is None:
        return None
    seen, target = indices_of((question.factual.name, question.target), bundle).tolist()
    found = known(reach, seen, target)
    if found is None or found.share >= FAR:
        return None
    nearer: list[str] = []
    for other in probabilities_of(bundle.classifier, image[None])[0].argsort(descending=True).tolist():
        reached = known(reach, seen, other)
        if other not in (seen, target) and reached is not None and reached.share >= NEAR:
            nearer.append(f"{bundle.classes[other]} ({reached})")
    instead = f"; nearer: {', '.join(nearest)}" if (nearest := nearer[:SUGGESTED]) else ""
    is_far = f"from {bundle.classes[seen]} to {bundle.classes[target]} is far"
    return f"{is_far}: with held-out images, {reach.engine} reached it {found} times{instead}"


def known(reach: ReachEntry, seen: int, target: int) -> Reached | None:
    """How often a target was reached from a class, or from all together if that says too little; None if both do."""
    pair = reach.pairs.get((seen, target))
    if pair is not None and pair.asked >= MIN_QUESTIONS:
        return pair
    together = [each for (_, to), each in reach.pairs.items() if to == target]
    every = Reached(asked=sum(each.asked for each in together), reached=sum(each.reached for each in together))
    return every if every.asked >= MIN_QUESTIONS else None
