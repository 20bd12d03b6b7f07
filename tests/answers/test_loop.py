"""The loop around engines: what fails on one image costs that image alone, and a batch that is too large is halved."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

import cfx
from cfx.answers import explain as module
from cfx.answers.asking import ask, ask_each
from cfx.answers.loop import Answered, AnswerLoop, Failed
from cfx.answers.pipeline import AnswerOptions
from cfx.answers.question import QuestionBatch, Source
from cfx.answers.wanted import Wanted
from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.curve import Curve
from cfx.counterfactuals.engine import Engine
from cfx.counterfactuals.problem import ModelError, NothingToOffer, Problem
from cfx.documents import Table
from cfx.errors import DataError

OPTIONS = AnswerOptions(metrics=frozenset())


@dataclass(frozen=True, kw_only=True)
class Picky(Engine):
    """Fails where an image is brighter than all but one."""

    name: ClassVar[str] = "picky"
    summary: ClassVar[str] = "test"
    paper: ClassVar[str] = "none"
    gradients: ClassVar[bool] = False

    limit: float = 0.0
    error: type[Exception] = ZeroDivisionError
    most: int = 100

    def find(self, problem: Problem) -> Curve:
        if len(problem) > self.most:
            raise MemoryError("can't allocate memory")
        if bool((problem.images.sum(dim=(1, 2, 3)) > self.limit).any()):
            raise self.error("too bright")
        return Curve(lambda t, rows: problem.images[rows], bisections=0)


@pytest.fixture
def images(digits: tuple[Tensor, Tensor]) -> Tensor:
    """Ten digits, of which the fourth is the brightest."""
    found = digits[0][::40].clone()
    order = found.sum(dim=(1, 2, 3)).argsort().tolist()
    return found[[*order[:3], order[-1], *order[3:-1]]]


@pytest.fixture
def limit(images: Tensor) -> float:
    sums = images.sum(dim=(1, 2, 3)).sort().values
    return float(sums[-2:].mean())


@pytest.fixture
def batch(bundle: Bundle, images: Tensor) -> QuestionBatch:
    return ask(bundle, images, [Source(name=f"{n}") for n in range(len(images))], [Wanted()] * len(images))


@pytest.mark.parametrize(
    ("error", "fault"),
    [(ZeroDivisionError, "engine"), (ModelError, "model"), (NothingToOffer, "nothing-to-offer")],
)
def test_only_the_image_on_which_it_fails_has_no_answer(
    bundle: Bundle, batch: QuestionBatch, limit: float, error: type[Exception], fault: str
):
    loop = AnswerLoop(bundle, {"picky": Picky(limit=limit, error=error)}, OPTIONS)
    results = [*loop.run([batch])]
    assert [each.question.source.name for each in results] == [str(n) for n in range(10)]
    assert [n for n, each in enumerate(results) if isinstance(each, Failed)] == [3]
    failed = results[3]
    assert isinstance(failed, Failed) and failed.fault == fault and "too bright" in failed.reason
    again = Failed.from_json(Table(json.loads(json.dumps(failed.as_json())), "line 1"))
    assert again.as_json() == failed.as_json() and again.key == failed.key
    with pytest.raises(DataError, match="fault must be model or engine or nothing-to-offer, found 'luck'"):
        Failed.from_json(Table({**failed.as_json(), "error": {"fault": "luck", "reason": "bad"}}, "line 1"))


def test_too_large_a_batch_is_halved_and_so_are_later_ones(bundle: Bundle, batch: QuestionBatch):
    told: list[str] = []
    loop = AnswerLoop(bundle, {"picky": Picky(limit=1e9, most=3)}, OPTIONS, 8, told.append)
    for _ in range(2):
        results = [*loop.answer("picky", batch)]
        assert len(results) == 10 and all(isinstance(each, Answered) for each in results)
    assert told == [f"out of memory; continuing with batches of {size}" for size in (4, 2)]
    alone = AnswerLoop(bundle, {"picky": Picky(limit=1e9, most=0)}, OPTIONS)
    with pytest.raises(MemoryError):
        [*alone.answer("picky", batch)]


def test_several_answers_to_a_question_stay_together(bundle: Bundle, batch: QuestionBatch):
    engine = cfx.load_engine("vcnet").from_bundle(bundle)
    loop = AnswerLoop(bundle, {"vcnet": engine}, AnswerOptions(metrics=frozenset(), count=2))
    for number, each in enumerate(loop.answer("vcnet", batch.only(range(3)))):
        assert isinstance(each, Answered) and each.question.source.name == str(number)
        assert [answer.place for answer in each.answers] == [*range(1, 1 + len(each.answers))]
        assert len({answer.key for answer in each.answers}) == len(each.answers)


def test_an_image_on_which_the_classifier_fails_costs_only_its_own_question(
    bundle: Bundle, images: Tensor, limit: float
):
    class Partial:
        classes, present, classifier = (
            bundle.classes,
            bundle.present,
            staticmethod(lambda x: torch.where(x.sum(dim=(1, 2, 3))[:, None] > limit, torch.nan, bundle.classifier(x))),
        )

    sources = [Source(name=f"{n}") for n in range(len(images))]
    asked, failed = ask_each(Partial(), images, sources, [Wanted()] * len(images))  # type: ignore[arg-type]
    assert [*failed] == [3] and "NaN" in str(failed[3])
    assert [each.source.name for each in asked.questions] == [str(n) for n in range(10) if n != 3]
    assert torch.equal(asked.images, images[[n for n in range(10) if n != 3]])


def test_python_raises_at_the_image_or_skips_it(
    bundle: Bundle, images: Tensor, limit: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "load_engine", lambda name: Picky)
    asked = {"bundle": bundle, "engine": "picky", "settings": {"limit": limit}, "metrics": []}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        answers = [*cfx.explain(images, **asked, on_failure="skip")]
    assert [answer.question.source.name for answer in answers] == [f"image {n}" for n in range(10) if n != 3]
    (warning,) = told
    assert str(warning.message).startswith("image 3: engine picky: it fails (ZeroDivisionError: too bright)")
    given = cfx.explain(images, **asked)
    assert [next(given).question.source.name for _ in range(3)] == ["image 0", "image 1", "image 2"]
    with pytest.raises(ModelError, match="image 3: engine picky: it fails"):
        next(given)
