"""What labelled images tell of a classifier's input and of its confidence, and what they do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle
from cfx.intake.calibration import calibration_notes
from cfx.intake.likelihood import fit_of, likelier


@pytest.fixture(scope="module")
def seen(bundle: Bundle, digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The shipped classifier's logits of 400 digits, and their labels."""
    with torch.no_grad():
        return bundle.part("classifier")(digits[0]), digits[1]


def test_the_nll_is_the_mean_logarithm_of_the_labels(seen: tuple[Tensor, Tensor]):
    logits, labels = seen
    fit = fit_of(logits, labels)
    by_hand = -logits.double().softmax(1)[torch.arange(len(labels)), labels].log()
    assert np.allclose(fit.losses, by_hand.numpy()) and fit.loss == pytest.approx(float(by_hand.mean()))
    assert fit.accuracy == float((logits.argmax(1) == labels).double().mean())


@pytest.mark.parametrize("temperature", [0.2, 5.0])
def test_the_fitted_nll_does_not_depend_on_how_sure_a_classifier_is(seen: tuple[Tensor, Tensor], temperature: float):
    logits, labels = seen
    own, other = fit_of(logits, labels), fit_of(logits / temperature, labels)
    assert other.fitted_loss == pytest.approx(own.fitted_loss, rel=0.02)
    assert abs(other.loss - own.loss) > 0.1 * own.loss


def test_a_classifier_that_is_always_right_has_a_temperature_too():
    labels = torch.arange(4).repeat(10)
    fit = fit_of(torch.nn.functional.one_hot(labels).float(), labels)
    assert 0 < fit.fitted_loss < fit.loss


def test_logits_that_are_no_numbers_are_never_likelier(seen: tuple[Tensor, Tensor]):
    logits, labels = seen
    fine, broken = fit_of(logits, labels), fit_of(torch.full_like(logits, float("nan")), labels)
    assert likelier(fine.losses, broken.losses) and not likelier(broken.losses, fine.losses)
    assert not likelier(broken.losses, broken.losses) and broken.accuracy == 0


def test_a_difference_by_chance_is_none():
    generator = np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        losses = generator.exponential(size=(8, 100))
        best, *others = sorted(losses, key=lambda each: each.mean())
        wrong += any(likelier(best, other, 8) for other in others)
    assert wrong <= 10, "the best of eight that are equal is rarely taken for better"
    losses = generator.exponential(size=100)
    assert likelier(losses, losses + generator.normal(0.3, 0.3, size=100), 20)
    assert not likelier(losses[:1], losses[:1] + 1), "one image is no evidence"


def test_the_more_are_compared_the_surer_a_difference_must_be():
    generator = np.random.default_rng(1)
    gaps = generator.normal(size=50)
    gaps = (gaps - gaps.mean()) / gaps.std(ddof=1) + 2.4 / 50**0.5  # 2.4 standard errors
    losses = generator.exponential(size=50)
    assert likelier(losses, losses + gaps) and not likelier(losses, losses + gaps, 5)


def test_confidence_that_is_what_it_seems_is_not_mentioned():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 5, generator=generator) * 3
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).flatten()
    assert calibration_notes(logits, labels) == []
    assert calibration_notes(logits * 1.5, labels) == [], "1.5 is not far"


def test_a_classifier_that_is_too_sure_is_noted_with_how_often_it_is_right():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 5, generator=generator) * 3
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).flatten()
    (note,) = calibration_notes(logits * 4, labels)
    confidence, seen = (logits * 4).softmax(1).max(1)
    sure = confidence >= 0.9
    right = float((seen == labels)[sure].float().mean())
    assert "is surer than it is right" in note and "interval 3.7 to 4.3" in note
    assert f"confidence 90 % or more means {right:.1%} right for this model (" in note
    assert f"of {int(sure.sum())} images" in note and right < 0.9
    assert calibration_notes(logits[:6] * 4, labels[:6]) == [], "six images do not say so"


def test_a_classifier_that_is_less_sure_is_noted_without_what_too_few_images_say():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 5, generator=generator) * 6
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).flatten()
    (note,) = calibration_notes(logits / 12, labels)
    assert "is less sure than it is right" in note and "90 % or more" not in note
    assert calibration_notes(torch.full((9, 3), float("nan")), torch.zeros(9, dtype=torch.int64)) == []
