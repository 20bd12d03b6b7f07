"""Goals: what is asked of an image, which targets that means, and which of them is answered."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import cfx
from cfx.answers.asking import ask
from cfx.answers.pipeline import AnswerOptions, answer_batch
from cfx.answers.question import Source
from cfx.answers.wanted import LIKELIEST, GoalName, Wanted, label_of, wanted_of
from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.registry import load_engine
from cfx.errors import UsageError
from cfx.images.writing import write_png

EXAMPLES = Path(__file__).parents[2] / "examples"
FOUR = EXAMPLES / "four.png"
OPTIONS = AnswerOptions(metrics=frozenset(("l1",)))


class Named:
    """A bundle with other names of classes."""

    name: ClassVar[str] = "named"
    is_standalone: ClassVar[bool] = False

    def __init__(self, *classes: str) -> None:
        self.classes = [*classes]
        self.present = [*range(len(classes))]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"target": "7"}, Wanted("target", (7,))),
        ({"target": "auto"}, Wanted("target")),
        ({"target": "label"}, None),
        ({"target": "3, 5,8,3"}, Wanted("any", (3, 5, 8))),
        ({"target": "3,3"}, Wanted("target", (3,))),
        ({"target": "auto", "other_than": "4"}, Wanted("not", (4,))),
        ({"target": "auto", "certain": True}, Wanted("certain")),
    ],
)
def test_words(bundle: Bundle, words: dict[str, str], expected: Wanted | None):
    assert wanted_of(bundle=bundle, **words) == expected  # pyright: ignore[reportArgumentType]


def test_a_name_with_a_comma_is_one_class():
    named = Named("maillot, tank suit", "auto", "label", "maillot")
    for place, name in enumerate(named.classes):
        assert wanted_of(name, named) == Wanted("target", (place,))  # type: ignore[arg-type]
    assert wanted_of("maillot,auto", named) == Wanted("any", (3, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("words", [{"target": "3,11"}, {"target": "ten"}, {"target": "auto", "other_than": "x"}])
def test_an_unknown_class_is_named(bundle: Bundle, words: dict[str, str]):
    with pytest.raises(UsageError, match=r"unknown class '(11|ten|x)'"):
        wanted_of(bundle=bundle, **words)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("wanted", "targets"),
    [
        (Wanted(), [1]),
        (Wanted("target", (3,)), [3]),
        (Wanted("any", (2, 3, 1)), [1, 3, 2]),
        (Wanted("not", (0,)), [1, 3, 2]),
        (Wanted("not", (2,)), [0, 1, 3]),
        (Wanted("certain"), [0, 1, 3]),
    ],
)
def test_the_likeliest_targets_come_first(wanted: Wanted, targets: list[int]):
    named = Named("a", "b", "c", "d", "e")
    probabilities = torch.tensor([0.5, 0.2, 0.1, 0.15, 0.05])
    assert wanted.targets(probabilities, named) == targets[:LIKELIEST]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(), "a 9"),
        (Wanted("any", (3, 5)), "one of 3, 5"),
        (Wanted("not", (8,)), "anything but an 8"),
        (Wanted("label", (9,)), "a 9, as it is labelled"),
        (Wanted("certain"), "anything that the model is sure of"),
    ],
)
def test_the_question_in_words(wanted: Wanted, words: str):
    assert wanted.wording(["9"], [*"0123456789"]) == words


def test_the_folder_is_the_label(bundle: Bundle, tmp_path: Path):
    assert label_of("x", tmp_path / "7" / "x.png", bundle) == Wanted("label", (7,))
    with pytest.raises(UsageError, match=r"x: its folder, 'photos', is none of the classes 0, 1"):
        label_of("x", tmp_path / "photos" / "x.png", bundle)
    with pytest.raises(UsageError, match="image 0: is no file, so that no folder names its label"):
        label_of("image 0", None, bundle)
    named = Named("Coat", "Bag")
    assert label_of("x", tmp_path / "coat" / "x.png", named) == Wanted("label", (0,))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="its folder, '1', is none of the classes Coat, Bag"):
        label_of("x", tmp_path / "1" / "x.png", named)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"target": "3,auto"}, "auto is no class, and cannot be one of several"),
        ({"other_than": "4,9"}, "only one class can be ruled out"),
        ({"target": []}, "there are no classes in it"),
        ({"region": (0.5, 0, 2, 2)}, "give x, y, width and height, four whole numbers"),
        ({"region": "0,0,2,2"}, "give x, y, width and height, four whole numbers"),
        ({"mask": np.zeros((3, 4, 5, 6))}, r"mask: an array of shape \(3, 4, 5, 6\)"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(bundle: Bundle, asked: dict[str, object], says: str):
    with pytest.raises(UsageError, match=says):
        cfx.explain(FOUR, bundle=bundle, **asked)  # pyright: ignore[reportArgumentType]


def test_arrays_and_sets_of_classes(bundle: Bundle):
    how = {"bundle": bundle, "engine": "vcnet", "metrics": []}
    for target in ({3, 9}, np.array([3, 9]), (3, "9")):
        (answer,) = cfx.explain(FOUR, target=target, **how)  # pyright: ignore[reportArgumentType]
        assert answer.question.goal == "any" and answer.target in ("3", "9")


def test_of_several_targets_the_nearest_is_the_answer(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images = digits[0][:6]
    engine = load_engine("vcnet").from_bundle(bundle)
    sources = [Source(name=str(place)) for place in range(len(images))]
    batch = ask(bundle, images, sources, [Wanted("any", (2, 3, 5))] * len(images))
    batch = batch.only([row for row, question in enumerate(batch.questions) if not question.is_met(0.9)])
    answers = answer_batch(bundle, "vcnet", engine, batch, OPTIONS)
    alone = {}
    for target in (2, 3, 5):
        single = ask(bundle, batch.images, sources[: len(batch)], [Wanted("target", (target,))] * len(batch))
        alone[target] = answer_batch(bundle, "vcnet", engine, single, OPTIONS)
    assert len({answer.target for answer in answers}) > 1
    for row, answer in enumerate(answers):
        distances = {its[row].target: its[row].value("l1") for its in alone.values() if its[row].valid}
        assert answer.valid and answer.target == min(distances, key=lambda name: distances[name] or 0.0)
        assert answer.value("l1") == pytest.approx(distances[answer.target], rel=1e-4)
        calls = sum(its[row].cost.forward_calls or 0 for its in alone.values())
        assert answer.cost.forward_calls == calls, "the cost is that of all searches"
        record = answer.as_json()
        assert record["goal"] == "any" and sorted(record["among"]) == ["2", "3", "5"]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["leap", "latent", "vcnet", "projection"])
def test_an_image_of_which_the_model_is_unsure_becomes_one_of_which_it_is_sure(
    bundle: Bundle, digits: tuple[Tensor, Tensor], name: str
):
    mixed = (torch.lerp(digits[0][:40], digits[0][40:80], 0.5) * 255).round() / 255
    with torch.inference_mode():
        unsure = mixed[bundle.classifier(mixed).softmax(dim=1).amax(dim=1) < 0.8][:8]
    assert len(unsure) == 8
    sources = [Source(name=str(place)) for place in range(8)]
    batch = ask(bundle, unsure, sources, [Wanted("certain")] * 8)
    answers = answer_batch(bundle, name, load_engine(name).from_bundle(bundle), batch, OPTIONS)
    assert sum(answer.valid for answer in answers) >= 7
    assert all(answer.counterfactual.confidence >= 0.9 for answer in answers if answer.valid)
    assert any(answer.target == answer.factual.name for answer in answers), "its own class is one of them"


def test_an_image_that_meets_its_goal_is_an_answer_as_it_is(bundle: Bundle):
    (answer,) = cfx.explain(FOUR, target=4, bundle=bundle, metrics=["l1", "judge_agrees"])
    assert answer.valid and answer.target == answer.counterfactual.name == "4"
    assert answer.metrics == {"l1": 0.0, "judge_agrees": True}
    assert answer.cost.steps == 0 and answer.cost.forward_calls == 1
    assert any("already sees a 4" in note for note in answer.notes)
    assert torch.equal(answer.pictures.factual, answer.pictures.counterfactual)


def test_beside_questions_that_need_a_search_in_the_order_of_the_images(bundle: Bundle):
    names = ["four", "seven", "four"]
    images = [EXAMPLES / f"{name}.png" for name in names]
    answers = list(cfx.explain(images, target=[4, 1], bundle=bundle, engine="vcnet", metrics=["l1"]))
    assert [answer.factual.name for answer in answers] == ["4", "7", "4"]
    assert [answer.value("l1") == 0 for answer in answers] == [True, False, True]
    assert all(answer.valid for answer in answers) and answers[1].target in ("1", "4")


def test_a_class_of_which_it_is_not_sure_enough_is_searched_for(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    (question,) = ask(bundle, digits[0][:1], [Source(name="x")], [Wanted("certain")]).questions
    assert question.is_met(question.factual.confidence) and not question.is_met(0.9999999)


def test_python_asks_for_labels_another_class_and_certainty(
    bundle: Bundle, digits: tuple[Tensor, Tensor], tmp_path: Path
):
    write_png(tmp_path / "7" / "a.png", digits[0][0])
    how = {"bundle": bundle, "engine": "vcnet", "metrics": []}
    goals: list[tuple[GoalName, dict[str, object]]] = [
        ("label", {"target": "label"}),
        ("not", {"other_than": int(digits[1][0])}),
        ("certain", {"certain": True}),
    ]
    for goal, asked in goals:
        (answer,) = cfx.explain(tmp_path / "7" / "a.png", **how, **asked)  # pyright: ignore[reportArgumentType]
        assert answer.question.goal == goal and answer.valid
    with pytest.raises(UsageError, match="target and not contradict each other"):
        cfx.explain(FOUR, target=3, other_than=4, bundle=bundle)
