"""The study of certainty: the least certain images are chosen, and become certain."""

from __future__ import annotations

import torch
from torch import Tensor

from cfx.answers.pipeline import AnswerOptions, answer_batch
from cfx.benchmarks.studies.certainty import entropy, least_certain, outcome
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
    its = outcome(bundle, batch, answers)
    assert its.after < its.before and its.valid > 0.9
    assert its.class_kept == sum(answer.counterfactual.name == answer.factual.name for answer in answers) / 12
    assert 0 < its.class_kept < 1, "any class will do, and their own is one of them"
