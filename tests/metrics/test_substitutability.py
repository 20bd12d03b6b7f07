"""Substitutability: by hand, and on real digits and clothes in the order of their worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cfx.benchmarks.controls import blur_by_half
from cfx.images.sets.labelled import Labelled
from cfx.metrics import substitutability as metric
from cfx.metrics.catalogue import BY_NAME
from cfx.metrics.evaluate import score_set
from cfx.metrics.scene import Missing, RealTests, SetScene
from cfx.metrics.substitutability import nearest_labels, substitutability_of

DATA = Path(__file__).parents[1] / "data"


def points(*values: float) -> Tensor:
    """Images of one pixel."""
    return torch.tensor(values).view(-1, 1, 1, 1)


def set_of(images: Tensor, targets: Tensor, reals: Labelled, apart: Tensor | None = None) -> SetScene:
    """Counterfactuals that are tested on real images."""
    apart = torch.ones(len(targets), dtype=torch.bool) if apart is None else apart
    return SetScene(
        targets=targets,
        factual_labels=targets,
        image_ids=torch.arange(len(targets)),
        features=None,
        images=lambda rows: images[list(rows)],
        reals=lambda: RealTests(reals, apart),
    )


def test_the_share_whose_nearest_counterfactual_has_their_class():
    reals, labels = points(0.1, 0.4, 0.6, 0.9), torch.tensor([0, 0, 0, 1])
    assert substitutability_of(points(0.0, 1.0), torch.tensor([0, 1]), reals, labels) == 0.75
    assert substitutability_of(points(0.0, 1.0), torch.tensor([1, 0]), reals, labels) == 0.25


def test_an_answer_that_is_the_real_image_itself_is_not_its_neighbour():
    reals = points(0.2, 0.8)
    labels = torch.tensor([0, 1])
    assert nearest_labels([(reals, labels)], reals).tolist() == [1, 0]
    assert nearest_labels([(reals[:1], labels[:1])], reals).tolist() == [-1, 0], "nothing else is there"


def test_it_does_not_depend_on_the_blocks(digits, monkeypatch):
    images, labels = digits
    whole = nearest_labels([(images[:150], labels[:150])], images[150:])
    direct = labels[torch.cdist(images[150:].flatten(1), images[:150].flatten(1)).argmin(dim=1)]
    assert whole.equal(direct)
    monkeypatch.setattr(metric, "AT_ONCE", 1000)
    blocks = [(images[start : start + 40], labels[start : start + 40]) for start in range(0, 150, 40)]
    blocks[-1] = images[120:150], labels[120:150]
    assert nearest_labels(blocks, (images[150:] * 255).round().to(torch.uint8)).equal(direct)


def test_only_counterfactuals_apart_from_the_images_count(monkeypatch):
    reals = Labelled((points(0.2, 0.8) * 255).to(torch.uint8), torch.tensor([0, 1]))
    images, targets = points(0.0, 1.0, 0.25, 0.75), torch.tensor([0, 1, 1, 0])
    monkeypatch.setattr(metric, "VALUES", 1)
    assert metric.substitutability(set_of(images, targets, reals)) == 0
    assert metric.substitutability(set_of(images, targets, reals, torch.tensor([True, True, False, False]))) == 1


def test_no_value_and_the_reason():
    reals = Labelled(torch.zeros(3, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 1, 2]))
    without = set_of(points(0.5, 0.6), torch.tensor([0, 1]), reals)
    values, missing = score_set(without)
    assert values["substitutability"] is None
    assert missing["substitutability"] == "there is no valid counterfactual to train on of 1 of the 3 classes"
    nothing = set_of(points()[:0], torch.zeros(0, dtype=torch.int64), reals)
    with pytest.raises(Missing, match="of 3 of the 3 classes"):
        metric.substitutability(nothing)
    unlabelled = SetScene(targets=torch.tensor([0]), factual_labels=torch.tensor([0]), image_ids=torch.tensor([0]),
                          features=None, images=lambda rows: points(0.5))  # fmt: skip
    assert "no images with labels" in score_set(unlabelled)[1]["substitutability"]
    assert BY_NAME["substitutability"].of_set


@pytest.mark.parametrize("name", ["digits", "clothes"])
def test_real_images_are_worth_much_and_noise_and_other_classes_nothing(name: str):
    """Of the images, half train, labelled by a class: their own, or as if they were counterfactuals of another."""
    with np.load(DATA / f"{name}.npz") as file:
        images = torch.from_numpy(file["images"]).view(-1, 1, 28, 28).float() / 255
        labels = torch.from_numpy(file["labels"]).long()
    train, own, test, known = images[::2], labels[::2], images[1::2], labels[1::2]
    others = (own + 1 + torch.arange(len(own)) % 9) % 10
    blurred = torch.cat([blur_by_half(image) for image in train.split(1)])
    noise = torch.randn(train.shape, generator=torch.Generator().manual_seed(0))
    real = substitutability_of(train, own, test, known)
    soft = substitutability_of(blurred, own, test, known)
    noisy = substitutability_of((train + 0.1 * noise).clamp(0, 1), others, test, known)
    factual = substitutability_of(train, others, test, known)
    assert real > 0.6 and 0.1 > noisy >= factual
    assert soft > 0.6, "blur does not harm a nearest neighbour, as docs/metrics.md says"
