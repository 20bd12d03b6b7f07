"""dive: further answers go other ways, in other coordinates."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.engines.dive import DiVE
from cfx.counterfactuals.goal import TargetClass
from cfx.counterfactuals.problem import Problem
from cfx.counterfactuals.request import SearchRequest
from cfx.errors import UsageError


@pytest.fixture(scope="module")
def questions(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Sixteen digits, each with another class as target."""
    return digits[0][::25], (digits[1][::25] + 3) % 10


def answers(bundle: Bundle, questions: tuple[Tensor, Tensor], count: int, **settings: Any) -> list[Tensor]:
    """The images of `count` searches after one another."""
    engine, found = DiVE.from_bundle(bundle, **settings), []
    for _ in range(count):
        earlier = torch.stack(found, dim=1) if found else None
        found.append(engine.search(bundle.classifier, *questions, earlier=earlier).images)
    return found


def cosines(bundle: Bundle, images: Tensor, found: list[Tensor]) -> Tensor:
    """The mean absolute cosine between the perturbations of answers."""
    vae: Any = bundle.part("vae")
    origin = vae.encode(images)
    ways = [torch.nn.functional.normalize(vae.encode(each) - origin, dim=1) for each in found]
    pairs = [(ways[a] * ways[b]).sum(dim=1).abs() for a in range(len(ways)) for b in range(a)]
    return torch.stack(pairs).mean()


def test_perturbations_differ_more_with_the_term_for_it(bundle: Bundle, questions: tuple[Tensor, Tensor]):
    alike, diverse = (
        cosines(bundle, questions[0], answers(bundle, questions, 3, diversity=weight, fisher="none"))
        for weight in (0.0, 3.0)
    )
    assert float(diverse) < float(alike) - 0.05


@pytest.mark.parametrize("fisher", ["chunk", "spectral"])
def test_a_further_answer_moves_only_some_coordinates(bundle: Bundle, questions: tuple[Tensor, Tensor], fisher: str):
    images, targets = (values[:4] for values in questions)
    engine = DiVE.from_bundle(bundle, fisher=fisher)
    vae: Any = engine.vae
    origin = vae.encode(images)
    masks = []
    for attempt in range(1, 1 + engine.masks):
        earlier = images[:, None].expand(-1, attempt, -1, -1, -1)
        problem = Problem(
            bundle.classifier, SearchRequest(images=images, targets=targets, earlier=earlier), TargetClass(targets, 0.9)
        )
        masks.append(engine._moves(problem, origin))
    moves = torch.stack(masks)
    assert set(moves.unique().tolist()) == {0.0, 1.0}
    if fisher == "chunk":
        assert bool((moves.sum(dim=0) == engine.masks - 1).all()), "each coordinate is frozen once"
        assert bool((moves.sum(dim=2) == origin.shape[1] * (1 - 1 / engine.masks)).all())
    else:
        assert bool((moves.sum(dim=0) == 1).all()), "each coordinate is in one cluster"


def test_without_clustering_the_extra_is_named(
    bundle: Bundle, questions: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    engine = DiVE.from_bundle(bundle, fisher="spectral")
    images, targets = (values[:1] for values in questions)
    engine.search(bundle.classifier, images, targets)
    with pytest.raises(UsageError, match=r"pip install 'cfx-toolkit\[clusters\]'"):
        engine.search(bundle.classifier, images, targets, earlier=images[:, None])
