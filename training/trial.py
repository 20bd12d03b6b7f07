"""The trial of engines at the end of a training: the same held-out questions for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from ..bundles.bundle import Bundle
from ..bundles.entries import TrialEntry
from ..counterfactuals.engine import Engine
from ..counterfactuals.problem import ModelError
from ..intervals import wilson
from ..metrics.evaluate import score
from ..metrics.scene import Scene

QUESTIONS = 50
ROUNDS = (4, 8)  # questions of the first round, which shows how long they take, and of the others
MEASURED = ("judge_agrees", "looks_real")


def try_engines(
    bundle: Bundle,
    engines: Mapping[str, Engine],
    images: Tensor,
    *,
    seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, TrialEntry]:
    """Ask every engine the same questions, with random targets, and as many as the time allows.

    Args:
        bundle: holds the classifier and the judges.
        engines: by name.
        images: (N, C, H, W) in [0, 1], on which no part was trained.
        seconds: for all of it; None for `QUESTIONS` questions.
        clock: gives the time in seconds.

    Returns:
        By engine, what its answers are worth. An engine that fails, or for which no time is left, is left out.
    """
    images, targets = questions(bundle, images[:QUESTIONS])
    began, longest = clock(), 0.0
    # Those without gradients first, which are faster: where time is short, they are tried at least.
    tallies = {name: _Tally() for name in sorted(engines, key=lambda name: engines[name].gradients)}
    done = 0
    while done < len(images):
        start, spent = clock(), clock() - began
        if seconds is not None and spent + longest > seconds:
            break
        some = slice(done, done + ROUNDS[1 if done else 0])
        for name in [*tallies]:
            if not done and seconds is not None and clock() - began > seconds:
                del tallies[name]
                continue
            try:
                tallies[name].ask(bundle, engines[name], images[some], targets[some], clock)
            except ModelError:
                del tallies[name]
        done += len(images[some])
        longest = max(longest, clock() - start)
    return {name: tally.entry() for name, tally in tallies.items() if done}


def questions(bundle: Bundle, images: Tensor) -> tuple[Tensor, Tensor]:
    """Images and, for each, a random target that the classifier does not see in it, (N,) int64."""
    with torch.inference_mode():
        seen = bundle.classifier(images.to(bundle.device)).argmax(dim=1).tolist()
    generator = torch.Generator().manual_seed(0)
    targets = []
    for label in seen:
        others = [other for other in bundle.present if other != label]
        targets.append(others[int(torch.randint(len(others), (1,), generator=generator))])
    return images.to(bundle.device), torch.tensor(targets, dtype=torch.int64, device=bundle.device)


def is_whole(trial: Mapping[str, TrialEntry], engines: Collection[str], count: int) -> bool:
    """Whether every engine has been asked as many questions as `count` held-out images allow."""
    most = min(QUESTIONS, count)
    return all(name in trial and trial[name].questions >= most for name in engines)


def best_of(trial: Mapping[str, TrialEntry]) -> str | None:
    """The engine with the most valid answers, then those with which judges agree, then those that look real.

    In the first two an engine counts as behind the best one only if it is below the 95 % interval of that one's share:
    49 of 50 are not behind 50.
    """

    def shares(name: str) -> tuple[float, float, float]:
        entry = trial[name]
        return entry.valid, entry.judges_agree or 0.0, entry.looks_real or 0.0

    left = [*trial]
    for place in range(2):
        best = max(left, key=lambda name: shares(name)[place], default=None)
        if best is not None:
            count = trial[best].questions
            least, _ = wilson(shares(best)[place] * count, count)
            left = [name for name in left if shares(name)[place] >= least]
    return max(left, key=lambda name: (*reversed(shares(name)), -trial[name].seconds), default=None)


class _Tally:
    """The answers of one engine so far."""

    def __init__(self) -> None:
        self._valid: list[Tensor] = []
        self._measured: dict[str, list[Tensor | None]] = {name: [] for name in MEASURED}
        self._seconds = 0.0

    def ask(self, bundle: Bundle, engine: Engine, images: Tensor, targets: Tensor, clock: Callable[[], float]) -> None:
        """Search, and score what was found."""
        start = clock()
        found = engine.search(bundle.classifier, images, targets)
        self._seconds += clock() - start
        self._valid.append(found.valid)
        columns = score(Scene.of(bundle, images, found.images, targets), frozenset(MEASURED)).columns
        for name, values in self._measured.items():
            values.append(columns[name])

    def entry(self) -> TrialEntry:
        valid = torch.cat(self._valid)
        shares = {
            name: share([each for each in values if each is not None], valid) for name, values in self._measured.items()
        }
        return TrialEntry(
            questions=len(valid),
            valid=round(float(valid.float().mean()), 3),
            judges_agree=shares["judge_agrees"],
            looks_real=shares["looks_real"],
            seconds=round(self._seconds / len(valid), 3),
        )


def share(values: Sequence[Tensor], valid: Tensor) -> float | None:
    """The share of answers that are valid and of which a metric is true; None if it could not be measured for all."""
    measured = torch.cat([*values]) if values else valid[:0]
    if len(measured) < len(valid):
        return None
    return round(float((measured.bool() & valid).float().mean()), 3)
