"""Finds a classifier's preprocessing: as declared, or else the one with which the labels of images are likeliest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..classifiers.foreign.adapted import Adapted
from ..classifiers.foreign.preprocessing import ORDERS, Preprocessing, candidates
from .class_matching import Matched
from .deciding import NORMALISATION, ORDER, SIZE, Decision, decide, doubts
from .input_sizes import other_sizes
from .probe import Probe
from .trials import Trials

TRIED = (48, 512)  # labelled images for each preprocessing: at least, at most
TRIED_BRIEFLY = (48, 256)
KEPT = 2  # preprocessings that are combined with each alternative in the next respect

Respects = dict[str, list[dict[str, Any]]]
"""In what preprocessings may differ -> the alternatives, as fields of `Preprocessing`."""


@dataclass(frozen=True)
class Adaptation:
    """A classifier with its preprocessing.

    Attributes:
        classifier: the adapted classifier.
        declared: the fields of its preprocessing that are declared.
        notes, warnings: what was guessed, and what looks wrong.
        tied: the preprocessings between which the images do not decide, the classifier's among them.
    """

    classifier: Adapted
    declared: tuple[str, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tied: tuple[Preprocessing, ...] = ()


def adapt(probe: Probe, matched: Matched, *, brief: bool = False) -> Adaptation:
    """Find a classifier's preprocessing: what is declared, and for the rest what makes the labels likeliest.

    Where the images do not decide between several, the one that changes the least is taken, and a note names the
    others. What is declared is used, with a warning if the labels are surely likelier with something else.

    Args:
        probe: the classifier and the images.
        matched: which of its classes the images' classes are.
        brief: take for granted what is declared.
    """
    declared = (*dict.fromkeys((*probe.foreign.declared, *probe.given)),)
    columns = matched.columns if matched.among else None
    decision = Decision(probe.preprocessing, (probe.preprocessing,), ())
    undeclared, doubted = respects(probe, declared)
    if brief:
        doubted = {}
    if not undeclared and not doubted:
        return Adaptation(probe.adapted(columns), declared)
    runs = 1 + KEPT + sum(len(changes) for changes in (*undeclared.values(), *doubted.values()))
    trials = Trials(probe, matched, runs, TRIED_BRIEFLY if brief else TRIED)
    trials.run([decision.chosen])
    for changes in undeclared.values():
        for kept in [*trials.ranking().fits][:KEPT]:
            trials.run(replace(kept, **change) for change in changes)
    if undeclared:
        decision = decide(trials.ranking(), decision.chosen, [*undeclared])
    chosen = decision.chosen
    warnings: list[str] = []
    for respect, changes in doubted.items():
        others = [replace(chosen, **change) for change in changes]
        trials.run(others)
        warnings += doubts(trials.ranking(), chosen, others, respect)
    return Adaptation(probe.adapted(columns, chosen), declared, decision.notes, (*warnings,), decision.tied)


def respects(probe: Probe, declared: Sequence[str]) -> tuple[Respects, Respects]:
    """In what other preprocessings may differ: in what is not declared, and in what is declared and may be wrong."""
    preprocessing = probe.preprocessing
    undeclared: Respects = {}
    doubted: Respects = {}
    (doubted if {"mean", "std", "scale"} & {*declared} else undeclared)[NORMALISATION] = [
        {"scale": other.scale, "mean": other.mean, "std": other.std} for other in candidates(preprocessing).values()
    ]
    if preprocessing.channels == 3 and "order" not in probe.given:
        (doubted if "order" in declared else undeclared)[ORDER] = [{"order": order} for order in ORDERS]
    sizes = [] if "size" in declared else other_sizes(probe)
    if sizes:
        undeclared[SIZE] = [{"size": size} for size in sizes]
    return undeclared, doubted
