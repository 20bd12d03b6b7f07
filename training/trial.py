"""The trial of engines at the end of a training: the same held-out questions for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from ..answers.answer import Answer
from ..answers.asking import ask_each
from ..answers.loop import Answered, AnswerLoop, Failed
from ..answers.pipeline import AnswerOptions
from ..answers.question import QuestionBatch, Source
from ..answers.wanted import Wanted
from ..bundles.bundle import Bundle
from ..bundles.entries import TrialEntry
from ..counterfactuals.engine import Engine
from ..intervals import wilson

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
    batch = questions(bundle, images[:QUESTIONS])
    loop = AnswerLoop(bundle, engines, AnswerOptions(metrics=frozenset(MEASURED)), bisects=False)
    began, longest = clock(), 0.0
    # Those without gradients first, which are faster: where time is short, they are tried at least.
    tallies = {name: _Tally() for name in sorted(engines, key=lambda name: engines[name].gradients)}
    done = 0
    while done < len(batch):
        start, spent = clock(), clock() - began
        if seconds is not None and spent + longest > seconds:
            break
        some = slice(done, done + ROUNDS[1 if done else 0])
        for name in [*tallies]:
            if not done and seconds is not None and clock() - began > seconds:
                del tallies[name]
                continue
            tallies[name].ask(loop, name, batch.only(range(*some.indices(len(batch)))))
            if tallies[name].failed:
                del tallies[name]
        done += len(batch.questions[some])
        longest = max(longest, clock() - start)
    return {name: tally.entry() for name, tally in tallies.items() if done}


def questions(bundle: Bundle, images: Tensor) -> QuestionBatch:
    """Questions about images (N, C, H, W), each for a random target that the classifier does not see in it."""
    generator = torch.Generator().manual_seed(0)

    def choose(_: int, probabilities: Tensor) -> list[Wanted]:
        seen = int(probabilities.argmax())
        others = [other for other in bundle.present if other != seen]
        return [Wanted("target", (others[int(torch.randint(len(others), (1,), generator=generator))],))]

    sources = [Source(name=f"held-out image {index}") for index in range(len(images))]
    batch, _ = ask_each(bundle, images.to(bundle.device), sources, choose)
    return batch


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
        self.failed = False
        self._answers: list[Answer] = []

    def ask(self, loop: AnswerLoop, name: str, batch: QuestionBatch) -> None:
        """Answer some questions; whether the engine fails on one of them, says `failed`."""
        results = [*loop.answer(name, batch)]
        self.failed = any(isinstance(each, Failed) for each in results)
        self._answers += [answer for each in results if isinstance(each, Answered) for answer in each.answers]

    def entry(self) -> TrialEntry:
        count = len(self._answers)
        shares = {name: share(self._answers, name) for name in MEASURED}
        return TrialEntry(
            questions=count,
            valid=round(sum(answer.valid for answer in self._answers) / count, 3),
            judges_agree=shares["judge_agrees"],
            looks_real=shares["looks_real"],
            seconds=round(sum(answer.cost.seconds for answer in self._answers) / count, 3),
        )


def share(answers: Sequence[Answer], metric: str) -> float | None:
    """The share of answers that are valid and of which a metric is true; None if it could not be measured for all."""
    values = [answer.value(metric) for answer in answers]
    if None in values:
        return None
    return round(sum(bool(value) and each.valid for value, each in zip(values, answers, strict=True)) / len(answers), 3)
