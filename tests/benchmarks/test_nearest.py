"""The nearest real image that the classifier accepts: which it is, where it stands, and how engines compare with it."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from cfx.benchmarks.compare import read_finished
from cfx.benchmarks.nearest import FEWEST, NearestAccepted, against_nearest
from cfx.benchmarks.pool import RealPool, as_bytes, read_pool
from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.goal import is_valid
from cfx.errors import UsageError
from cfx.images.sets.labelled import Labelled
from cfx.images.writing import write_png
from cfx.reports.summary import Summary
from cfx.reports.tables import as_markdown
from cfx.runs.inputs import DataSetInputs


@pytest.fixture(scope="module")
def pool(bundle: Bundle, labelled: Labelled) -> RealPool:
    return read_pool(bundle, DataSetInputs(labelled, "digits"), seed=0)


@pytest.fixture(scope="module")
def asked(bundle: Bundle, pool: RealPool) -> tuple[Tensor, Tensor]:
    """Forty images of the pool, and for each a target that the classifier does not see in it."""
    chosen = torch.arange(40)
    return pool.floats(chosen), (pool.probabilities[chosen].argmax(dim=1) + 1 + chosen % 9) % 10


def control(pool: RealPool, confidence: float = 0.9) -> NearestAccepted:
    return NearestAccepted(confidence=confidence, pool=lambda: pool, size=len(pool))


def test_a_pool_is_all_images_that_can_be_read(bundle, labelled, pool, monkeypatch):
    assert len(pool) == len(labelled)
    key = [tuple(image.flatten().tolist()) for image in pool.images]
    assert sorted(key) == sorted(tuple(image.flatten().tolist()) for image in labelled.images)
    assert torch.allclose(pool.probabilities.sum(dim=1), torch.ones(len(pool)))
    monkeypatch.setattr("cfx.benchmarks.pool.LARGEST", 50 * 28 * 28)
    assert len(read_pool(bundle, DataSetInputs(labelled, "digits"), seed=0)) == 50, "a sample where memory is short"


def test_no_accepted_image_is_nearer(bundle, pool, asked):
    images, targets = asked
    found = control(pool).search(bundle.classifier, images, targets)
    assert bool(found.valid.all())
    everything = torch.arange(len(pool))
    far = pool.distances(images, everything)
    for row, target in enumerate(targets.tolist()):
        probabilities = pool.probabilities[:, target]
        accepted = is_valid(pool.probabilities.argmax(dim=1) == target, probabilities, 0.9)
        here = (found.images[row] - images[row]).abs().sum()
        assert torch.isclose(here, far[row][accepted].min(), atol=1e-3)
        assert bool((as_bytes(found.images[row]) == pool.images[accepted]).flatten(1).all(dim=1).any()), "it is real"
    assert found.forward_calls.tolist() == [1] * len(images), "the pool itself is no cost of an answer"


def test_an_answer_does_not_depend_on_the_others(bundle, pool, asked):
    images, targets = asked
    together = control(pool).search(bundle.classifier, images, targets)
    alone = control(pool).search(bundle.classifier, images[7:8], targets[7:8])
    assert together.images[7].equal(alone.images[0])


def test_neither_the_factual_nor_its_equals_are_answers(bundle, pool, asked):
    """Asked for the class that the classifier sees in it, the factual itself would be the nearest."""
    images = asked[0]
    seen = bundle.classifier(images).argmax(dim=1)
    twice = RealPool(torch.cat([pool.images, pool.images]), torch.cat([pool.probabilities] * 2))
    for each in (pool, twice):
        found = control(each).search(bundle.classifier, images, seen)
        assert float((found.images - images).abs().sum(dim=(1, 2, 3)).min()) > 0


def test_where_none_is_accepted_the_answer_is_the_most_probable_and_invalid(bundle, pool, asked):
    images, targets = asked
    doubtful = torch.where(pool.probabilities.max(dim=1).values < 0.9)[0]
    few = RealPool(pool.images[doubtful], pool.probabilities[doubtful])
    found = control(few).search(bundle.classifier, images, targets)
    assert not bool(found.valid.any())
    best = few.probabilities[:, targets].amax(dim=0)
    assert torch.allclose(found.confidence, best, atol=1e-4)
    only = RealPool(as_bytes(images[:1]), pool.probabilities[:1])
    assert control(only).search(bundle.classifier, images[:1], targets[:1]).valid.tolist() == [False]


def test_further_answers_are_the_next_nearest(bundle, pool, asked):
    images, targets = asked
    first = control(pool).search(bundle.classifier, images, targets)
    second = control(pool).search(bundle.classifier, images, targets, earlier=first.images[:, None])
    before, after = ((each.images - images).abs().sum(dim=(1, 2, 3)) for each in (first, second))
    assert bool((after >= before).all()) and bool((after > before).any())
    assert not any(one.equal(other) for one, other in zip(first.images, second.images, strict=True))


class Bound:
    """Requires of answers that their features' sum is below a bound."""

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def holds(self, features: Tensor, labels: Tensor, of_images: object) -> Tensor:
        return features.sum(dim=1) < self.bound


def test_where_more_is_required_the_nearest_that_has_it_is_taken(bundle, pool, asked):
    images, targets = asked
    free = control(pool).search(bundle.classifier, images, targets)
    for strict in (Bound(-1.0), Bound(1e9)):
        bound = control(pool).search(bundle.classifier, images, targets, typical=strict)
        assert bool(bound.valid.all()) == (strict.bound > 0)
        assert bound.images.equal(free.images), "the nearest, where none or each of them has it"


def test_it_stands_in_every_table_with_the_size_of_its_pool(make, perform):
    run = perform(make("vcnet"))
    summary = Summary.read(run.path)
    about = summary.engines["nearest-accepted"]
    assert about.control and about.pool == 20 and summary.compared == ("vcnet",)
    assert "`nearest-accepted` (control, of 20)" in as_markdown(summary)
    assert "<small>control, of 20</small>" in (run.path / "index.html").read_text()
    says = "nearest-accepted chooses from 20 images, fewer than 500, so no engine is compared with it"
    assert says in summary.notes and says in (run.path / "index.html").read_text()
    assert read_finished(run.path).columns["nearest-accepted"].pool == 20
    assert json.loads((run.path / "manifest.json").read_text())["config"]["engines"]["nearest-accepted"]["pool"] == 20


def test_a_run_of_a_region_has_none(make, perform):
    run = perform(make("projection", region=(4, 4, 20, 20), count=2))
    assert {answer.engine for answer in run.answers} == {"projection"}


def test_an_image_that_cannot_be_read_is_not_in_the_pool(make, perform, folder, tmp_path, digits):
    images = tmp_path / "images"
    images.mkdir()
    for row in range(4):
        write_png(images / f"{row}.png", digits[0][row])
    (images / "broken.png").write_bytes(b"no")
    run = perform(make("vcnet", images=str(images)))
    assert Summary.read(run.path).engines["nearest-accepted"].pool == 4


def test_a_finished_run_does_not_read_the_pool(make, perform, monkeypatch):
    perform(make("vcnet", count=2))

    def refuse(*arguments: object) -> RealPool:
        raise UsageError("it was read")

    monkeypatch.setattr("cfx.benchmarks.controls.read_pool", refuse)
    perform(make("vcnet", count=2))


def test_engines_are_compared_on_the_pairs_that_both_solved(answers):
    found = answers(
        near=[(True, 10.0), (True, 20.0), (True, 30.0), (False, 900.0)],
        far=[(True, 25.0), (True, 35.0), (False, 0.0), (True, 0.0)],
        same=[(True, 19.0), (True, 31.0), (True, 40.0), (True, 0.0)],
        lost=[(False, 1.0)] * 4,
        **{"nearest-accepted": [(True, 20.0), (True, 30.0), (True, 40.0), (False, 1.0)]},
        pixel=[(True, 1.0)] * 4,
    )
    for control in ("nearest-accepted", "pixel"):
        found[control].control = True
    found["nearest-accepted"].pool = FEWEST
    (said,) = against_nearest(found)
    assert said.endswith(
        "nearer: near -10.0 (-10.0 to -10.0, 3); farther: far +5.0 (+5.0 to +5.0, 2); no difference shown: "
        "same +0.0 (-1.0 to +1.0, 3)"
    )
    assert "the nearest of 500 real images" in said
    found["nearest-accepted"].pool = FEWEST - 1
    assert "fewer than 500" in against_nearest(found)[0]
    del found["nearest-accepted"]
    assert against_nearest(found) == [], "a run of an earlier version, or of a region"
