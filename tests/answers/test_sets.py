"""Sets: several answers to a question differ, are valid and near, and begin with the one that is given alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import cfx
from cfx.answers.asking import ask
from cfx.answers.pipeline import AnswerOptions, answer_batch
from cfx.answers.question import QuestionBatch, Source
from cfx.answers.sets import FARTHEST, LEAST_APART, choose, distances, diversity
from cfx.answers.wanted import Wanted
from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.engine import Counterfactuals
from cfx.counterfactuals.registry import by_rank, engine_names, load_engine
from cfx.errors import UsageError

FOUR = Path(__file__).parents[2] / "examples" / "four.png"
ENGINES = [name for name in by_rank({name: load_engine(name) for name in engine_names()}) if name != "nun"]
SLOW = {"pixel": {"max_steps": 600}, "deduce": {"max_steps": 60}, "jsma": {"max_steps": 60}}
L1 = frozenset(("l1",))


def questions(bundle: Bundle, images: Tensor, labels: Tensor, count: int) -> QuestionBatch:
    """Questions about the first digits of some classes, towards the class three further."""
    chosen = [int((labels == label).nonzero()[0]) for label in range(count)]
    sources = [Source(name=f"{number}") for number in range(count)]
    wanted = [Wanted("target", ((label + 3) % 10,)) for label in range(count)]
    return ask(bundle, images[chosen], sources, wanted)


@pytest.mark.parametrize("name", ENGINES)
def test_answers_of_every_engine_differ(bundle: Bundle, digits: tuple[Tensor, Tensor], name: str):
    kind = load_engine(name)
    if kind.any_class:
        pytest.skip("images of which the classifier is sure have nothing to answer: test_clue.py")
    if any(not bundle.has(part) for part in kind.needs):
        pytest.skip(f"the shipped bundle has no {', '.join(kind.needs)}")
    engine = kind.from_bundle(bundle, **SLOW.get(name, {}))
    batch = questions(bundle, *digits, 2)
    alone = answer_batch(bundle, name, engine, batch, AnswerOptions(metrics=L1))
    several = answer_batch(bundle, name, engine, batch, AnswerOptions(metrics=L1, count=3))
    assert [answer.place for answer in several if answer.place == 1] == [1, 1]
    for question, first in zip(batch.questions, alone, strict=True):
        own = [answer for answer in several if answer.question.source == question.source]
        assert [answer.place for answer in own] == list(range(1, len(own) + 1))
        assert {answer.of for answer in own} == {len(own)}
        if not first.valid:
            continue
        assert torch.equal(own[0].pictures.counterfactual, first.pictures.counterfactual)
        assert all(answer.valid for answer in own)
        images = torch.stack([answer.pictures.counterfactual for answer in own])
        apart = distances(images, images) + torch.eye(len(own)) * 1e9
        nearest = first.value("l1") or 0.0
        assert bool((apart > LEAST_APART * nearest).all())
        assert all((answer.value("l1") or 0) <= FARTHEST * nearest * 1.001 for answer in own)
        assert own[0].diversity == (pytest.approx(diversity(images)) if len(own) > 1 else None)
        assert len(own) == 3 or "different answers were asked for" in " ".join(own[0].notes)
    found = [answer for answer in several if answer.place == 2]
    assert found or not any(answer.valid for answer in alone), "no engine has one answer only"


def of(images: Tensor, valid: list[bool]) -> Counterfactuals:
    """Counterfactuals of one question."""
    none = torch.zeros(len(images), dtype=torch.int64)
    sure = torch.linspace(0.5, 0.9, len(images))
    return Counterfactuals(images, none, torch.tensor(valid), sure, none, sure, none, none, none)


def test_the_farthest_among_the_near_ones_is_next():
    factual = torch.zeros(1, 1, 4)
    ends = torch.tensor([[1.0, 0, 0, 0], [0.9, 0.02, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0.5, 0]])
    found = of(ends[:, None, None], [True, True, True, True, True, False])
    assert choose(found, factual, ends, 2) == [0, 3], "the fifth is four times as far as the first"
    assert choose(found, factual, ends, 4) == [0, 3, 2, 1]
    assert choose(found, factual, ends, 6) == [0, 3, 2, 1], "there are no more that are valid, near and different"
    nothing = of(ends[:, None, None], [False] * 6)
    assert choose(nothing, factual, ends, 3) == [0]
    later = of(ends[:, None, None], [False, False, False, True, True, False])
    assert choose(later, factual, ends, 1) == [3], "the nearest valid one, if the first attempt is not valid"


def test_what_an_answer_costs_is_what_the_set_costs(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    engine = load_engine("projection").from_bundle(bundle)
    batch = questions(bundle, *digits, 2)
    alone = answer_batch(bundle, "projection", engine, batch, AnswerOptions(metrics=L1))
    several = answer_batch(bundle, "projection", engine, batch, AnswerOptions(metrics=L1, count=2))
    for answer in several:
        assert (answer.cost.forward_calls or 0) > 3 * max(each.cost.forward_calls or 0 for each in alone) / 2


def test_from_python(bundle: Bundle):
    answers = [*cfx.explain(FOUR, target="9", engine="vcnet", bundle=bundle, count=3, metrics=["l1"])]
    assert [answer.place for answer in answers] == [1, 2, 3]
    assert len({answer.pictures.counterfactual.numpy().tobytes() for answer in answers}) == 3
    record = answers[2].as_json()
    assert (
        record["place"] == 3 and record["of"] == 3 and record["diversity"] == pytest.approx(answers[0].diversity, 1e-4)
    )
    with pytest.raises(UsageError, match="count 0: give a whole number, 1 to 1000"):
        cfx.explain(FOUR, count=0)


def test_an_image_that_meets_its_goal_has_one_answer(bundle: Bundle):
    (answer,) = cfx.explain(FOUR, target="4", engine="vcnet", bundle=bundle, count=3, metrics=["l1"])
    assert answer.valid and (answer.place, answer.of) == (1, 1)
    assert not any("different answers" in note for note in answer.notes)
