"""The study of certainty: the least certain images are chosen, and become certain."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cfx.answers.pipeline import AnswerOptions, answer_batch
from cfx.benchmarks.controls import Factual
from cfx.benchmarks.studies.certainty import HEADS, Change, Outcome, as_row, entropy, least_certain, outcome
from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.registry import load_engine


def test_entropy():
    assert torch.allclose(entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]])), torch.tensor([0.0, 0.6931]), atol=1e-4)


def test_the_least_certain_become_certain(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    batch = least_certain(bundle, digits[0], 12)
    chosen = {int(question.source.name) for question in batch.questions}
    with torch.inference_mode():
        entropies = entropy(bundle.classifier(digits[0]).softmax(dim=1))
    rest = [row for row in range(len(digits[0])) if row not in chosen]
    assert len(chosen) == 12 and entropies[[*chosen]].min() >= entropies[rest].max()
    engine = load_engine("vcnet").from_bundle(bundle)
    answers = answer_batch(bundle, "vcnet", engine, batch, AnswerOptions(metrics=frozenset(("l1",))))
    labels = digits[1][[int(question.source.name) for question in batch.questions]]
    its = outcome(bundle, batch, answers, labels)
    for each in (its.entropy, its.ensemble, its.judges):
        assert each.before is not None and each.after is not None and each.after < each.before
    assert its.valid > 0.9
    assert its.class_kept == sum(answer.counterfactual.name == answer.factual.name for answer in answers) / 12
    assert 0 < its.class_kept < 1, "any class will do, and their own is one of them"
    truth = [bundle.classes[label] for label in labels.tolist()]
    for share, seen in (
        (its.label_right.before, [answer.factual.name for answer in answers]),
        (its.label_right.after, [answer.counterfactual.name for answer in answers]),
    ):
        assert share == pytest.approx(sum(one == other for one, other in zip(truth, seen, strict=True)) / 12)
    assert as_row("vcnet", its).count("|") == len(HEADS) + 1


def test_images_that_were_looked_at_are_left_out(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    def names(count: int, after: int = 0) -> list[str]:
        batch = least_certain(bundle, digits[0], count, after=after)
        return [question.source.name for question in batch.questions]

    assert names(4, after=8) == names(12)[8:]
    assert len(names(len(digits[0]), after=5)) == len(digits[0]) - 5


def test_what_does_not_change_is_kept(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    """Both judges keep the class of an answer that is the factual, and entropies stay."""
    batch = least_certain(bundle, digits[0], 6)
    engine = Factual(confidence=0.9)
    answers = answer_batch(bundle, "factual", engine, batch, AnswerOptions(metrics=frozenset(("l1",))))
    its = outcome(bundle, batch, answers, torch.zeros(6, dtype=torch.int64))
    assert its.judges_kept == its.class_kept == 1 and its.l1 == 0
    for each in (its.entropy, its.ensemble, its.judges, its.judges_sure, its.label_right):
        assert each.before is not None and each.after == pytest.approx(each.before, abs=1e-6)


def test_a_bundle_without_ensemble_has_no_figure_of_one():
    assert "| n/a |" in as_row("x", Outcome(Change(1, 0), Change(None, None), *[Change(1, 0)] * 3, *[0.5] * 5))
