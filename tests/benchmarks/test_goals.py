"""The script behind the README's table."""

from __future__ import annotations

import torch

from cfx.benchmarks.goals import HEADINGS, draw_pairs, measure, table
from cfx.bundles.bundle import Bundle
from cfx.data.datasets import Labelled


def test_pairs_are_images_that_the_classifier_gets_right_with_another_target(bundle: Bundle, digits):
    images, labels = digits
    data = Labelled((images * 255).round().to(torch.uint8), labels)
    pairs = draw_pairs(bundle, data, 50)
    predicted = bundle.classifier(pairs.images).argmax(dim=1)
    assert len(pairs.images) == 50
    assert (predicted != pairs.targets).all()
    again = draw_pairs(bundle, data, 50)
    assert torch.equal(pairs.images, again.images) and torch.equal(pairs.targets, again.targets)


def test_a_row_is_measured_and_printed(bundle: Bundle, digits):
    images, labels = digits
    data = Labelled((images * 255).round().to(torch.uint8), labels)
    outcome = measure(bundle, "vcnet", draw_pairs(bundle, data, 40), batch_size=16, singles=2)
    assert outcome.valid > 90 and outcome.judge_agrees > 80 and outcome.images_per_second > 0
    lines = table([outcome]).splitlines()
    assert len(lines) == 3 and all(line.count("|") == len(HEADINGS) + 1 for line in lines)
    assert lines[2].startswith("| `vcnet` | ")
