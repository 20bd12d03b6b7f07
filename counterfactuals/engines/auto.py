"""auto: several searches for each question, and the best of their answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import torch
from torch import Tensor

from ...bundles.parts import Models
from ...errors import BundleError, UsageError, unknown_name
from ...generative.donors import DonorSource
from ..curve import About, Curve
from ..engine import TAKES_NO_TARGET, Engine, blaming_plugin
from ..fidelity import Fidelity
from ..problem import BrokenEngine, Candidates, ModelError, NothingToOffer, Problem
from ..registry import CONTROL, by_rank, engine_names, load_engine
from ..search.attempts import Attempt, Quality, any_valid, in_words
from ..search.trimming import trim
from ..search.typical import Typical
from ..settings import setting
from ..tightening import tighten

SETTLED = 50.0  # percentile of those distances up to which a first answer is the last
TYPICAL = 97.0  # percentile of the distances among training images, beyond which an answer is not typical
COPIES = 4  # noisy copies of an answer, in all of which a robust one keeps its class
NOISE = 0.02  # standard deviation of their noise, in units of the pixel range
TRIMMED = 80.0  # percentile of the distances among training images up to which an answer is trimmed


@dataclass(frozen=True, kw_only=True)
class Auto(Engine):
    """Asks the bundle's own engine again where its answer is not very typical, and other engines where it fails.

    Of the answers to a question the best one is given: valid before invalid; then one that keeps its class under noise
    and another rounding; then one that is typical of the target, in the features of the explained classifier; then the
    nearest. Changes that it does not need to remain so are taken back. No judge is asked. The other answers are named
    in a note.

    The rules were chosen by judges' figures for training images (docs/engines.md). Choosing among engines is the idea
    of ensembles of counterfactual methods; the order and the criteria are ours.
    """

    name: ClassVar[str] = "auto"
    summary: ClassVar[str] = "the bundle's engine, a second time where it pays, others where it fails; the best answer"
    paper: ClassVar[str] = "ours"
    fidelity: ClassVar[Fidelity] = Fidelity(
        "ours",
        "no paper describes it: the order of engines, the rules of choice and the trimming are ours, chosen by "
        "judges' figures for training images",
    )
    rank: ClassVar[int] = 1
    uses: ClassVar[tuple[str, ...]] = ("donors",)
    gradients: ClassVar[bool] = False
    candidate: ClassVar[bool] = False

    donors: DonorSource | None = None
    engines: tuple[str, ...] | None = setting(
        None,
        "engines to choose among, the first in place of the bundle's own; none: all whose models the bundle has",
    )
    searches: int = setting(2, "searches of the bundle's engine for each question", least=1)
    trimmed: float | None = setting(
        TRIMMED,
        "percentile of the distances among training images up to which needless changes are taken back; none: none are",
        least=0,
        most=100,
    )
    within: float | None = setting(
        None,
        "seconds an image, after which no further search is begun; answers then depend on the machine",
        least=0.001,
    )
    _children: list[Engine] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def from_models(cls, models: Models, **settings: object) -> Self:
        """As `Engine.from_models`, with the engines that `engines` names, or every one that the models are enough for.

        Raises:
            UsageError: one that is named is unknown, or nothing that can be chosen.
            BundleError: the models are not enough for one that is named, or for none at all.
        """
        named = settings.get("engines", cls._settings_in(models).get("engines"))
        kinds = cls._named(named) if isinstance(named, Sequence) and named else cls._usable(models)
        if not kinds:
            raise BundleError(
                f"bundle {models.name}: engine auto: the bundle has the models of no engine to choose from"
            )
        shared = {name: settings[name] for name in ("confidence", "tightened") if name in settings}
        made = super().from_models(models, **{**settings, "working": None})
        for kind in kinds:
            try:
                made._children.append(kind.from_models(models, **shared))
            except BundleError as error:
                if not named:
                    raise
                raise BundleError(f"engine auto: engines: {kind.name}: {error}") from error
        return made

    @classmethod
    def _named(cls, names: Sequence[str]) -> list[type[Engine]]:
        """The engines of these names, in their order.

        Raises:
            UsageError: one of them is unknown, or nothing that can be chosen.
        """
        place = f"engine {cls.name}: engines={','.join(names)}"
        known, refused = engine_names(), (cls.name, CONTROL)
        kinds: list[type[Engine]] = []
        for name in dict.fromkeys(names):
            if name not in known:
                raise UsageError(f"{place}: {unknown_name('engine', name, set(known).difference(refused))}")
            if name in refused:
                raise UsageError(f"{place}: {name} is not an engine to choose; leave it out")
            kind = load_engine(name)
            if kind.any_class:
                raise UsageError(f"{place}: engine {name}: {TAKES_NO_TARGET}; leave it out")
            kinds.append(kind)
        return kinds

    @classmethod
    def _usable(cls, models: Models) -> list[type[Engine]]:
        """All engines that the models are enough for: the bundle's own, then those that need no gradients."""
        kinds: dict[str, type[Engine]] = {}
        for name in engine_names():
            with suppress(UsageError):  # another package's engine that cannot be imported; `cfx info` names it
                kinds[name] = load_engine(name)
        usable = [
            name
            for name in by_rank(kinds)
            if kinds[name].candidate
            and name != cls.name
            and not kinds[name].any_class
            and all(models.has(part) for part in kinds[name].needs)
            and (models.differentiable or not kinds[name].gradients)
        ]
        # Those that the classifier is asked about least come first; the bundle's own before them.
        return [kinds[name] for name in sorted(usable, key=lambda name: (name != models.engine, kinds[name].gradients))]

    def find(self, problem: Problem) -> Curve:
        began, rows = time.monotonic(), problem.every_row()
        attempts: list[Attempt] = []

        def is_time_left() -> bool:
            return self.within is None or time.monotonic() - began < self.within * len(rows)

        main, *others = self._children
        missing: list[str] = []
        for number in range(self.searches):
            if number and not is_time_left():
                break
            todo = rows if not attempts else rows[~self._is_settled(problem, attempts[0])]
            if len(todo):
                self._try(problem, main, todo, attempts, missing)
        for child in others:
            todo = rows[~any_valid(attempts, rows)]
            if not len(todo) or not is_time_left():
                break
            self._try(problem, child, todo, attempts, missing)
        if not attempts:
            raise NothingToOffer("; ".join(dict.fromkeys(missing)))
        return self._best(problem, attempts)

    def _try(self, problem: Problem, child: Engine, rows: Tensor, attempts: list[Attempt], missing: list[str]) -> None:
        """Search some questions with one engine; what it cannot offer is noted."""
        same_engine = [attempt for attempt in attempts if attempt.engine == child.name]
        before = [attempt.images_of(rows)[:, None] for attempt in same_engine]
        if problem.earlier is not None:  # what each of the earlier searches has found stands for all of its searches
            before.append(problem.earlier[rows].repeat_interleave(self.searches, dim=1))
        sub = problem.subproblem(rows, child.working, torch.cat(before, dim=1) if before else None)
        try:
            with blaming_plugin(type(child)):
                curve = child.found(sub)
                t, found = tighten(sub, curve)
        except (NothingToOffer, BrokenEngine) as error:  # the others may answer
            missing.append(f"{child.name}: {error}")
            return
        finally:
            problem.count_also(sub, rows)
        attempts.append(Attempt(child.name, rows, sub, curve, t, found, self._features(problem, rows, found.images)))

    def _best(self, problem: Problem, attempts: Sequence[Attempt]) -> Curve:
        """The best answer to each question, and the curve to it."""
        rows = problem.every_row()
        qualities = [self._quality(problem, attempt) for attempt in attempts]
        scores = torch.full((len(attempts), len(rows)), -torch.inf, device=rows.device)
        for number, (attempt, quality) in enumerate(zip(attempts, qualities, strict=True)):
            scores[number, attempt.rows] = quality.score(attempt.found)
        chosen = scores.argmax(dim=0)
        indices, robust = torch.zeros_like(rows), torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        best: Candidates | None = None
        for number, attempt in enumerate(attempts):
            where = torch.full_like(rows, -1)
            where[attempt.rows] = torch.arange(len(attempt.rows), device=rows.device)
            mine = chosen == number
            indices[mine] = where[mine]
            robust[mine] = qualities[number].robust[where[mine]]
            if best is None:  # the first search is of all questions
                best = attempt.found.only(rows)
            elif bool(mine.any()):
                best.replace(rows[mine], attempt.found, where[mine])
        assert best is not None
        kept = self._trim(problem, best, robust)

        def draw(t: Tensor, rows: Tensor) -> Tensor:
            drawn = problem.factuals[rows].clone()
            for number, attempt in enumerate(attempts):
                mine = chosen[rows] == number
                if bool(mine.any()):
                    index = indices[rows[mine]]
                    drawn[mine] = attempt.sub.to_full_resolution(
                        attempt.curve.draw(t[mine] * attempt.t[index], index), index
                    )
            return torch.where(kept[rows], drawn, problem.factuals[rows])

        def about(t: float, row: int) -> About:
            attempt, index = attempts[int(chosen[row])], int(indices[row])
            said = About() if attempt.curve.about is None else attempt.curve.about(t * float(attempt.t[index]), index)
            notes = (in_words(attempts, qualities, int(chosen[row]), row), *said.notes)
            if bool(kept[row].all()):
                return replace(said, notes=notes)
            still = tuple(region for region in said.regions if bool(region.of(kept[row, 0]).any()))
            return replace(said, regions=still, notes=(*notes, "changes that are not needed were then taken back"))

        return Curve(draw, bisections=0, end=best, about=about)

    def _quality(self, problem: Problem, attempt: Attempt) -> Quality:
        """How good the answers of a search are."""
        distance = (attempt.found.images - problem.factuals[attempt.rows]).abs().flatten(1).mean(dim=1)
        typical = self._is_typical(problem, attempt, TYPICAL)
        return Quality(
            self._is_robust(problem, attempt.found, attempt.rows),
            torch.ones_like(attempt.found.valid) if typical is None else typical,
            distance,
        )

    def _trim(self, problem: Problem, best: Candidates, robust: Tensor) -> Tensor:
        """Take back what the best answers do not need to be valid, robust and typical.

        Args:
            problem: with the questions.
            best: (N,), trimmed in place.
            robust: (N,) bool, which of them are.

        Returns:
            (N, 1, H, W) bool, where changes are kept.
        """
        kept = torch.ones_like(problem.factuals[:, :1], dtype=torch.bool)
        typical, percentile, rows = self._typical, self.trimmed, best.valid.nonzero().flatten()
        if typical is None or percentile is None or not len(rows):
            return kept

        def accept(_: Candidates, features: Tensor, rows: Tensor) -> Tensor:
            return typical.holds(features, problem.targets[rows], problem.features_of, percentile)

        with suppress(NothingToOffer):  # there are no features to tell
            found, where = trim(problem, best.only(rows), rows, accept)
            nearer = (found.images != best.images[rows]).flatten(1).any(dim=1).nonzero().flatten()
            if not len(nearer):
                return kept
            still = self._is_robust(problem, found.only(nearer), rows[nearer])
            good = nearer[still | ~robust[rows[nearer]]]
            best.replace(rows[good], found, good)
            kept[rows[good]] = where[good]
        return kept

    def _is_robust(self, problem: Problem, found: Candidates, rows: Tensor) -> Tensor:
        """Whether answers to the questions `rows` (M,) keep their class in noisy copies of 8 bits, (M,) bool."""
        images, random = found.images, torch.Generator().manual_seed(problem.seed)
        kept = found.valid.clone()
        for _ in range(COPIES):
            noise = torch.randn(images.shape[1:], generator=random, device="cpu").to(images)
            noisy = problem.candidates(images + NOISE * noise, rows)
            kept &= noisy.predicted == found.predicted
        return kept

    def _is_settled(self, problem: Problem, first: Attempt) -> Tensor:
        """Which questions (N,) have so good a first answer that no second one is sought."""
        typical = self._is_typical(problem, first, SETTLED)
        return torch.zeros_like(first.found.valid) if typical is None else typical & first.found.valid

    def _is_typical(self, problem: Problem, attempt: Attempt, percentile: float) -> Tensor | None:
        """Whether an answer is typical of its target, (M,) bool; None if nothing is known about that."""
        if self._typical is None or attempt.features is None:
            return None
        return self._typical.holds(attempt.features, problem.targets[attempt.rows], problem.features_of, percentile)

    @cached_property
    def _typical(self) -> Typical | None:
        """Tells which answers are typical; None without training images to compare with."""
        return None if self.donors is None else Typical(self.donors, TYPICAL)

    def _features(self, problem: Problem, rows: Tensor, images: Tensor) -> Tensor | None:
        """The features (M, F) of answers to the questions `rows`; None if they are not needed, or cannot be had."""
        if self._typical is None:
            return None
        try:
            features = problem.features_of(images)
        except ModelError:
            return None
        problem.count(rows)
        return features
