"""Metrics on cases computed by hand, and on the orderings that make them metrics."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cfx.answers.wording import looks
from cfx.bundles.bundle import Bundle, load_bundle
from cfx.counterfactuals.engines.projection import SharpShooter
from cfx.counterfactuals.registry import load_engine
from cfx.errors import BundleError
from cfx.judges.real_images import RealImages
from cfx.metrics import perceptual, proximity, realism
from cfx.metrics.catalogue import METRICS, Group
from cfx.metrics.evaluate import evaluate, function_of, score
from cfx.metrics.ranges import RANGES, why_not_real
from cfx.metrics.scene import Scene


def scene_of(factuals: torch.Tensor, counterfactuals: torch.Tensor) -> Scene:
    """Images alone."""
    nobody = torch.zeros(len(factuals), dtype=torch.int64)
    return Scene(classifier=torch.nn.Identity(), factuals=factuals, counterfactuals=counterfactuals, targets=nobody)


def judged(bundle: Bundle, images: torch.Tensor, targets: torch.Tensor, seen: torch.Tensor | None = None) -> Scene:
    """Images as answers, whatever they were before."""
    scene = Scene.of(bundle, images, images, targets)
    scene.seen = seen
    return scene


@pytest.fixture
def pair() -> Scene:
    return scene_of(torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.3, 0.0], [0.4, 1 / 255]]]]))


def test_l0_counts_pixels_changed_by_more_than_one_level(pair):
    assert proximity.l0(pair).item() == 0.5


def test_l1_l2_linf(pair):
    assert proximity.l1(pair).item() == pytest.approx(0.7 + 1 / 255)
    assert proximity.l2(pair).item() == pytest.approx(math.sqrt(0.25 + 1 / 255**2))
    assert proximity.linf(pair).item() == pytest.approx(0.4)


def test_colours_of_one_pixel_count_once():
    assert (
        proximity.l0(scene_of(torch.zeros(1, 3, 1, 2), torch.ones(1, 3, 1, 2) * torch.tensor([1.0, 0.0]))).item() == 0.5
    )


def test_percentile_by_hand():
    reference = RealImages(classes=2, count=2, features=1, levels=4, neighbours=2)
    reference.features[1] = torch.tensor([[0.0], [2.0]])
    reference.distances[1] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    label = torch.tensor([1])
    # Mean distance to 0 and 2: at 1 it is 1, at 3.5 it is 2.5, at 9 it is 8.
    for feature, distance, percentile in ((1.0, 1.0, 100.0), (3.5, 2.5, 50.0), (9.0, 8.0, 0.0)):
        place = torch.tensor([[feature]])
        assert reference.distance(place, label).item() == pytest.approx(distance)
        assert reference.percentile(place, label).item() == pytest.approx(percentile)


def test_looks_real_needs_all_percentiles():
    cases = (
        (60.0, 50.0, 50.0, 50.0, ""), (1.5, 1.5, 1.5, 4.0, ""), (100.0, 100.0, 99.5, 100.0, ""),
        (1.4, 50.0, 50.0, 50.0, "untypical"), (60.0, 1.4, 50.0, 50.0, "like another class"),
        (60.0, 50.0, 1.4, 50.0, "blurred"), (60.0, 50.0, 99.6, 50.0, "too sharp"), (60.0, 50.0, 50.0, 3.9, "noisy"),
        (0.0, 0.0, 0.0, 0.0, "untypical, like another class, blurred, noisy"),
    )  # fmt: skip
    scene = scene_of(torch.zeros(len(cases), 1, 2, 2), torch.zeros(len(cases), 1, 2, 2))
    columns = [torch.tensor([case[place] for case in cases]) for place in range(4)]
    scene.percentile, scene.class_percentile, scene.sharpness, scene.noise = columns
    assert realism.looks_real(scene).tolist() == [not case[-1] for case in cases]
    for *percentiles, fault in cases:
        found = {"looks_real": not fault, **{each.metric: p for each, p in zip(RANGES, percentiles, strict=True)}}
        assert why_not_real(found) == fault
        assert looks(found) == (f"does not look real: {fault}" if fault else "looks real")
    assert why_not_real({"realism_percentile": None}) == ""


def test_margin_by_hand():
    reference = RealImages(classes=3, count=1, features=1, levels=4, neighbours=1, noises=1)
    reference.features[0], reference.features[2] = torch.tensor([[0.0]]), torch.tensor([[4.0]])  # none of class 1
    reference.margins[0] = torch.tensor([-2.0, -1.0, 0.0, 1.0])
    places, labels = torch.tensor([[1.0], [3.0], [3.0]]), torch.tensor([0, 0, 2])
    assert reference.margin(places, labels).exp().tolist() == pytest.approx([1 / 3, 3, 1 / 3])
    assert reference.class_percentile(places[:2], labels[:2]).tolist() == [75.0, 0.0], (
        "as near as 75 %, farther than all"
    )


def test_im1_of_real_sevens_is_lower_for_seven_than_for_one(bundle: Bundle, digits):
    images, labels = digits
    sevens = images[labels == 7]
    of = torch.full((len(sevens),), 7), torch.full((len(sevens),), 1)
    as_sevens = realism.im1(judged(bundle, sevens, of[0], of[1]))
    as_ones = realism.im1(judged(bundle, sevens, of[1], of[0]))
    assert as_sevens.median() < 1 < as_ones.median()
    assert (as_sevens < as_ones).float().mean() > 0.9


def test_im2_of_real_images_is_lower_for_their_own_class(bundle: Bundle, digits):
    images, labels = digits
    own = realism.im2(judged(bundle, images, labels))
    other = realism.im2(judged(bundle, images, (labels + 1) % 10))
    assert own.median() < other.median()


def test_real_images_look_real_and_other_classes_do_not(bundle: Bundle, digits):
    images, labels = digits
    own = realism.looks_real(judged(bundle, images, labels))
    other = realism.looks_real(judged(bundle, images, (labels + 1) % 10))
    assert own.float().mean() > 0.9
    assert other.float().mean() < 0.02


def test_the_judge_sees_through_pixel_and_believes_vcnet(bundle: Bundle, digits):
    images, labels = digits
    images, targets = images[::10], (labels[::10] + 3) % 10
    agrees = {}
    for name in ("pixel", "vcnet"):
        found = load_engine(name).from_bundle(bundle).search(bundle.classifier, images, targets)
        scores = evaluate(bundle, images, targets, found)
        assert len(scores.rows()) == len(images)
        assert any(note.startswith("lpips") for note in scores.notes) and scores.columns["lpips"] is None
        valid = found.valid
        agrees[name] = float(scores.columns["judge_agrees"][valid].float().mean())
        looks_real = float(scores.columns["looks_real"][valid].float().mean())
        assert looks_real > 0.6 if name == "vcnet" else looks_real < 0.1
    assert agrees["pixel"] < 0.25 and agrees["vcnet"] > 0.9


def test_lpips_without_a_backbone_is_missing_and_says_so(bundle: Bundle, digits, monkeypatch, tmp_path):
    monkeypatch.delenv(perceptual.VARIABLE, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    images, targets = digits[0][:2], torch.tensor([9, 9])
    found = load_engine("vcnet").from_bundle(bundle).search(bundle.classifier, images, targets)
    scores = evaluate(bundle, images, targets, found, lpips=True)
    assert scores.columns["lpips"] is None
    assert any("LPIPS needs AlexNet's ImageNet convolutions" in note for note in scores.notes)


def test_lpips_refuses_a_file_that_is_not_a_backbone(monkeypatch, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"nonsense")
    monkeypatch.setenv(perceptual.VARIABLE, str(tmp_path / "weights.safetensors"))
    with pytest.raises(BundleError, match="not AlexNet's convolutions"):
        perceptual.load_lpips(torch.device("cpu"))


@pytest.mark.slow
def test_lpips_with_the_genuine_backbone(bundle: Bundle, digits, monkeypatch):
    root = os.environ.get("CFX_DATA")
    weights = Path(root).parent / "lpips" / "alexnet_features.safetensors" if root else None
    if weights is None or not weights.exists():
        pytest.skip("AlexNet's convolutions are not part of the repository")
    monkeypatch.setenv(perceptual.VARIABLE, str(weights))
    metric = perceptual.load_lpips(torch.device("cpu"))
    images, labels = digits
    fours = images[labels == 4][:8]
    same = perceptual.lpips_distance(metric, fours, fours)
    blurred = perceptual.lpips_distance(metric, fours, torch.nn.functional.avg_pool2d(fours, 3, 1, 1))
    others = perceptual.lpips_distance(metric, fours, images[labels == 0][:8])
    assert same.abs().max() < 1e-6
    assert (blurred < others).float().mean() > 0.7


def test_each_judge_looks_once_at_a_batch(bundle: Bundle, digits, monkeypatch):
    """Whatever is asked of the first judge: its class, its features, the neighbours among them."""
    asked: list[str] = []

    def watch(name: str) -> None:
        judge = bundle.judges.part(name)
        monkeypatch.setattr(judge, "forward", lambda *a, f=judge.forward, **k: asked.append(name) or f(*a, **k))
        if hasattr(judge, "embed"):
            monkeypatch.setattr(judge, "embed", lambda *a, f=judge.embed, **k: asked.append(name) or f(*a, **k))

    images, targets = digits[0][:4], torch.tensor([9, 9, 9, 9])
    found = load_engine("vcnet").from_bundle(bundle).search(bundle.classifier, images, targets)
    names = ["judge", "referee", "retrained", "second_judge"]
    for name in names:
        watch(name)
    evaluate(bundle, images, targets, found)
    assert sorted(asked) == names


def test_every_function_of_the_catalogue_is_there_and_says_what_it_needs(bundle: Bundle, digits):
    for metric in METRICS:
        measured_by_the_pipeline = metric.group is Group.COST or metric.name in (
            "validity",
            "confidence",
            "answers_diversity",
            "fell_back",
        )
        assert (metric.function is None) == measured_by_the_pipeline, metric.name
        if metric.function is not None:
            assert function_of(metric).__doc__, metric.name
    images, targets = digits[0][:2], torch.tensor([9, 9])
    found = load_engine("vcnet").from_bundle(bundle).search(bundle.classifier, images, targets)
    alone = Scene(classifier=bundle.classifier, factuals=images, counterfactuals=found.images, targets=targets)
    without = {name for name, column in score(alone).columns.items() if column is None}
    assert without == {metric.name for metric in METRICS if metric.needs and not (metric.of_set or metric.on_request)}


@pytest.mark.parametrize(
    ("useless", "missing", "kept"),
    [
        (("judge",), {"looks_real", "realism_percentile", "knn_agreement"}, {"judge_agrees", "im1"}),
        (("judge", "second_judge"), {"judge_agrees", "judge_confidence", "looks_real"}, {"im1", "l1"}),
        (("autoencoders",), {"im1", "im2"}, {"judge_agrees", "looks_real"}),
        (("referee",), {"referee_agrees"}, {"judge_agrees", "looks_real"}),
        (("retrained",), {"robust_retrained"}, {"judge_agrees", "looks_real"}),
    ],
)
def test_nothing_is_measured_with_a_useless_judge(
    tmp_path: Path,
    digits: tuple[torch.Tensor, torch.Tensor],
    useless: tuple[str, ...],
    missing: set[str],
    kept: set[str],
):
    shutil.copytree(load_bundle("mnist").directory, tmp_path / "b")
    made = Bundle(tmp_path / "b")
    marked = {name: replace(made.parts[name], verdict="useless", because="right on 10.0%") for name in useless}
    made.update(parts={**made.parts, **marked})
    images, targets = digits[0][:4], (digits[1][:4] + 1) % 10
    found = SharpShooter.from_bundle(made).search(made.classifier, images, targets)
    scores = evaluate(made, images, targets, found)
    for name in missing:
        assert scores.columns[name] is None
        assert scores.missing[name].startswith(f"{useless[0]} is useless: right on 10.0%; `cfx train ")
    assert all(scores.columns[name] is not None for name in kept)
