"""dive: further answers go other ways, in other coordinates."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from cfx.bundles.bundle import Bundle, load_bundle
from cfx.counterfactuals.engines.dive import DiVE
from cfx.counterfactuals.goal import TargetClass
from cfx.counterfactuals.problem import Problem
from cfx.counterfactuals.request import SearchRequest
from cfx.counterfactuals.search.fisher import fisher_information
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


def test_further_answers_are_valid_as_often_as_the_first(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images, targets = digits[0][::8], (digits[1][::8] + 3) % 10
    engine, found = DiVE.from_bundle(bundle), []
    for _ in range(4):
        earlier = torch.stack([each.images for each in found], dim=1) if found else None
        found.append(engine.search(bundle.classifier, images, targets, earlier=earlier))
    assert all(float(each.valid.float().mean()) >= 0.95 for each in found)
    frozen = DiVE.from_bundle(bundle, frees=False, shares=(1.0,))
    earlier = found[0].images[:, None]
    second = frozen.search(bundle.classifier, images, targets, earlier=earlier)
    assert float(second.valid.float().mean()) < float(found[1].valid.float().mean()), "because weights and masks yield"


def test_the_fisher_information_is_that_of_the_definition(bundle: Bundle, questions: tuple[Tensor, Tensor]):
    """Of one latent, F is the second derivative of the Kullback-Leibler divergence (here by central differences)."""
    images, targets = (values[:1] for values in questions)
    vae: Any = bundle.part("vae")
    problem = Problem(bundle.classifier, SearchRequest(images=images, targets=targets), TargetClass(targets, 0.9))
    latent = vae.encode(images) + 1.0
    found = fisher_information(problem, vae.decode, latent)
    assert torch.allclose(found, found.T, atol=1e-5) and float(torch.linalg.eigvalsh(found).min()) > -1e-4
    assert int(problem.forward_calls.sum()) == 0

    def logs(at: Tensor) -> Tensor:
        return bundle.classifier(vae.decode(at)).double().log_softmax(dim=1)

    direction = torch.linalg.eigh(found).eigenvectors[:, -1]
    here, step = logs(latent), 1e-2
    there = [(here.exp() * (here - logs(latent + sign * step * direction))).sum() for sign in (1, -1)]
    curvature = float(sum(there)) / step**2
    assert curvature == pytest.approx(float(direction @ found @ direction), rel=0.1)
    both = torch.cat([latent, vae.encode(images)])
    halves = [fisher_information(problem, vae.decode, each[None]) for each in both]
    assert torch.allclose(fisher_information(problem, vae.decode, both), sum(halves) / 2, rtol=1e-3, atol=1e-4)


def test_the_information_of_the_data_set_is_the_same_for_all_images(bundle: Bundle, questions: tuple[Tensor, Tensor]):
    images, targets = (values[:4] for values in questions)
    engine = DiVE.from_bundle(bundle, information="data-set")
    request = SearchRequest(images=images, targets=targets, earlier=images[:, None])
    problem = Problem(bundle.classifier, request, TargetClass(targets, 0.9))
    moves = engine._moves(problem, engine.vae.encode(images))
    assert bool((moves == moves[:1]).all()) and 0 < float(moves.mean()) < 1
    first = engine.kept[0][1]
    engine._moves(problem, engine.vae.encode(images))
    assert engine.kept[0][1] is first, "computed once for a classifier"
    other = Problem(load_bundle("mnist", explained="robust_classifier").classifier, request, TargetClass(targets, 0.9))
    engine._moves(other, engine.vae.encode(images))
    assert engine.kept[0][1] is not first
    of_prior = DiVE(vae=engine.vae, information="data-set")
    assert of_prior._moves(problem, engine.vae.encode(images)).shape == moves.shape


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
