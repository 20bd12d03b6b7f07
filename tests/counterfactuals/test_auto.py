"""auto: the best of several answers, other engines where the bundle's own fails, and an end to the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle, load_bundle
from cfx.counterfactuals.curve import Curve
from cfx.counterfactuals.engine import Engine
from cfx.counterfactuals.engines.auto import Auto
from cfx.counterfactuals.problem import NothingToOffer, Problem
from cfx.counterfactuals.registry import load_engine
from cfx.counterfactuals.settings import parse_settings, text_of
from cfx.errors import BundleError, UsageError


@dataclass(frozen=True, kw_only=True)
class Stuck(Engine):
    """Finds nothing but the factual."""

    name: ClassVar[str] = "stuck"
    gradients: ClassVar[bool] = False

    def find(self, problem: Problem) -> Curve:
        return Curve(lambda t, rows: problem.images[rows])


@pytest.fixture(scope="module")
def questions(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Twenty digits, each with another class as target."""
    return digits[0][::20], (digits[1][::20] + 3) % 10


def built(bundle: Bundle, *names: str, **settings: Any) -> Auto:
    """The engine with these to choose from, the first as the bundle's own."""
    return Auto.from_bundle(bundle, engines=names, **settings)


def test_it_takes_the_bundles_own_engine_and_then_those_without_gradients(bundle: Bundle):
    engine = Auto.from_bundle(bundle)
    names = [child.name for child in engine._children]
    assert names[0] == bundle.engine == "leap"
    gradients = [child.gradients for child in engine._children]
    assert gradients == sorted(gradients)
    assert not {"pixel", "jsma", "deduce", "svce", "dive", "clue", "auto"} & set(names)
    models = load_bundle("mnist").models
    models.differentiable = False
    assert not any(child.gradients for child in Auto.from_models(models)._children)
    models = load_bundle("mnist").models
    models._entries.clear()
    with pytest.raises(BundleError, match="no engine to choose from"):
        Auto.from_models(models)


@dataclass(frozen=True, kw_only=True)
class Broken(Stuck):
    """An engine of another package that fails."""

    name: ClassVar[str] = "broken"

    def find(self, problem: Problem) -> Curve:
        raise ZeroDivisionError("oh")


def test_where_one_engine_fails_the_others_answer(bundle: Bundle, questions: tuple[Tensor, Tensor]):
    images, targets = (values[:3] for values in questions)
    engine = built(bundle, "vcnet")
    engine._children.insert(0, Broken())
    found = engine.search(bundle.classifier, images, targets)
    assert bool(found.valid.all()) and found.about is not None
    assert all(each.notes[0].startswith("auto: the answer of vcnet") for each in found.about)
    engine._children[1:] = []
    with pytest.raises(NothingToOffer, match=r"broken: it fails \(ZeroDivisionError: oh\); tell the author of tests"):
        engine.search(bundle.classifier, images, targets)


def test_it_chooses_among_the_engines_that_are_named_in_their_order(bundle: Bundle):
    engine = built(bundle, "vcnet", "svce", "leap", confidence=0.8)
    assert [child.name for child in engine._children] == ["vcnet", "svce", "leap"]
    assert {child.confidence for child in engine._children} == {0.8}
    parsed = parse_settings(Auto, {"engines": "vcnet, swap"})
    assert parsed == {"engines": ("vcnet", "swap")} == parse_settings(Auto, {"engines": text_of(parsed["engines"])})
    usual = [child.name for child in Auto.from_bundle(bundle)._children]
    for said in ("none", ""):
        again = Auto.from_bundle(bundle, **parse_settings(Auto, {"engines": said}))
        assert [child.name for child in again._children] == usual


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vcnt", r"engine auto: engines=leap,vcnt: unknown engine 'vcnt': did you mean 'vcnet'\? known are clue, .*"),
        ("auto", "engine auto: engines=leap,auto: auto is not an engine to choose; leave it out"),
        ("pixel", "engine auto: engines=leap,pixel: pixel is not an engine to choose; leave it out"),
        ("clue", "engine auto: engines=leap,clue: engine clue: it makes the classifier sure .*; leave it out"),
    ],
)
def test_what_cannot_be_chosen_is_named_in_one_line(bundle: Bundle, name: str, says: str):
    with pytest.raises(UsageError, match=f"^{says}$"):
        built(bundle, "leap", name)


def test_an_engine_whose_parts_the_bundle_lacks_is_named_in_one_line(bundle: Bundle):
    models = load_bundle("mnist").models
    del models._entries["conditional_vae"]
    with pytest.raises(
        BundleError, match=r"^engine auto: engines: vcnet: bundle mnist: has no part 'conditional_vae' "
    ):
        Auto.from_models(models, engines=("leap", "vcnet"))
    models.differentiable = False
    with pytest.raises(BundleError, match=r"^engine auto: engines: svce: bundle mnist: .* is a black box"):
        Auto.from_models(models, engines=("leap", "svce"))


def test_no_answer_is_worse_than_that_of_the_first_search(bundle: Bundle, questions: tuple[Tensor, Tensor]):
    images, targets = questions
    engine = built(bundle, "projection", searches=3)
    found = engine.search(bundle.classifier, images, targets)
    alone = load_engine("projection").from_bundle(bundle).search(bundle.classifier, images, targets)
    assert bool((found.valid | ~alone.valid).all())
    length = [(each.images - images).abs().flatten(1).sum(dim=1) for each in (found, alone)]
    assert float(length[0].mean()) < float(length[1].mean()), "of three answers the nearest typical one"
    assert int(found.forward_calls.sum()) > 2 * int(alone.forward_calls.sum()), "all searches are counted"
    assert bool((found.forward_calls > alone.forward_calls).all())
    assert int(found.forward_calls.min()) < int(found.forward_calls.max()), "a very typical answer is the only one"
    assert found.about is not None
    notes = [each.notes[0] for each in found.about]
    assert all(note.startswith("auto: the answer of projection") for note in notes)
    assert any("other answers: projection (farther)" in note for note in notes)


def test_what_the_answer_does_not_need_is_taken_back(bundle: Bundle, questions: tuple[Tensor, Tensor]):
    images, targets = (values[:8] for values in questions)
    whole = built(bundle, "leap", trimmed=None).search(bundle.classifier, images, targets)
    found = built(bundle, "leap").search(bundle.classifier, images, targets, path=True)
    before, after = ((each.images - images).abs().flatten(1).sum(dim=1) for each in (whole, found))
    nearer = after < before
    assert bool((after <= before).all()) and int(nearer.sum()) > 1 and bool(found.valid.all())
    assert found.about is not None and found.path is not None
    told = [each.notes[-1] == "changes that are not needed were then taken back" for each in found.about]
    assert told == nearer.tolist()
    changed = (found.path[:, :-1] != images[:, None]).any(dim=1)
    assert not bool((changed & (found.images == images) & (whole.images != images))[nearer].any()), "nor on the way"
    assert torch.equal(
        built(bundle, "leap", trimmed=0.0).search(bundle.classifier, images, targets).images, whole.images
    )


def test_where_the_first_fails_another_engine_answers(bundle: Bundle, questions: tuple[Tensor, Tensor]):
    images, targets = questions
    engine = built(bundle, "vcnet", "projection", trimmed=None)
    engine._children[0] = Stuck()
    found = engine.search(bundle.classifier, images, targets)
    other = load_engine("projection").from_bundle(bundle).search(bundle.classifier, images, targets)
    assert torch.equal(found.images[other.valid], other.images[other.valid]) and bool(other.valid.any())
    assert found.about is not None and found.about[0].notes[0].startswith(
        "auto: the answer of projection; other answers: stuck (not valid), stuck (not valid)"
    )
    nothing = built(bundle, "vcnet")
    nothing._children[:] = [Stuck()]
    assert not bool(nothing.search(bundle.classifier, images, targets).valid.any())


def test_when_the_time_is_over_no_search_is_begun(bundle: Bundle, questions: tuple[Tensor, Tensor]):
    engine = built(bundle, "vcnet", "projection", trimmed=None)
    brief = built(bundle, "vcnet", "projection", trimmed=None, within=0.001)
    main = load_engine("vcnet").from_bundle(bundle)
    found, alone = (each.search(bundle.classifier, *questions) for each in (brief, main))
    assert torch.equal(found.images, alone.images)
    longer = built(bundle, "vcnet", "projection", trimmed=None, within=1000.0)
    again, whole = (each.search(bundle.classifier, *questions) for each in (longer, engine))
    assert torch.equal(again.images, whole.images)


def test_the_path_is_that_of_the_answer_that_was_chosen(bundle: Bundle, questions: tuple[Tensor, Tensor]):
    images, targets = (values[:6] for values in questions)
    found = built(bundle, "vcnet").search(bundle.classifier, images, targets, path=True)
    assert found.path is not None
    assert torch.equal(found.path[:, 0], images) and torch.equal(found.path[:, -1], found.images)
    blend = torch.lerp(images, found.images, 0.5)
    assert float((found.path[:, 4] - blend).abs().flatten(1).sum(dim=1).mean()) > 5, "no blend of pixels"
    steps = found.path.diff(dim=1).abs().flatten(2).sum(dim=2)
    assert bool((steps[:, -1] < steps.sum(dim=1) * 0.6).all()), "it arrives step by step"
