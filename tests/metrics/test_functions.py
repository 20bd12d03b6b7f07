"""The metrics of realism, transition, robustness and sets: by hand, and on real digits."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cfx.bundles.bundle import Bundle
from cfx.counterfactuals.engines.auto import COPIES
from cfx.counterfactuals.registry import load_engine
from cfx.judges import real_images
from cfx.judges.real_images import RealImages
from cfx.judges.retrained import Retrained
from cfx.metrics import perceptual, realism, robustness, sets, transition
from cfx.metrics.catalogue import METRICS
from cfx.metrics.scene import Scene
from cfx.metrics.sets import ClassFeatures

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
Digits = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def right(bundle: Bundle, digits: Digits) -> Digits:
    """Digits that the classifier gets right, and sees with a confidence of 0.9 or more."""
    images, labels = digits
    with torch.inference_mode():
        confidence, seen = bundle.classifier(images).softmax(dim=1).max(dim=1)
    chosen = (seen == labels) & (confidence >= 0.9)
    return images[chosen], labels[chosen]


@pytest.fixture(scope="module")
def features(bundle: Bundle, digits: Digits) -> Tensor:
    """Judge features of the digits, the first 16 of them: 400 images are enough for their covariance."""
    with torch.inference_mode():
        return bundle.part("judge").embed(digits[0])[:, :16]


def scene_of(
    classifier: Callable[[Tensor], Tensor],
    counterfactuals: Tensor,
    targets: Tensor,
    factuals: Tensor | None = None,
    seen: Tensor | None = None,
    judges: dict[str, Any] | None = None,
) -> Scene:
    """Answers, with just what a metric needs of them."""
    given = judges or {}
    held: Any = SimpleNamespace(
        part=lambda name: given[name], usable=lambda name: name in given, useless=lambda name: None
    )
    return Scene(
        classifier=classifier,
        factuals=counterfactuals if factuals is None else factuals,
        counterfactuals=counterfactuals,
        targets=targets,
        seen=seen,
        judges=held,
    )


def cout(
    classifier: Callable[[Tensor], Tensor],
    factuals: Tensor,
    counterfactuals: Tensor,
    classes: Tensor,
    targets: Tensor,
    steps: int = 20,
) -> Tensor:
    return transition.cout(scene_of(classifier, counterfactuals, targets, factuals, classes), steps=steps)


def robust_noise(classifier: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor, **options: Any) -> Tensor:
    return robustness.robust_noise(scene_of(classifier, images, targets), **options)


def other_digits(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """For each image a real one of another class, and that class."""
    order = labels.argsort(stable=True).roll(len(labels) // 2)
    back = labels.argsort(stable=True).argsort()
    return images[order][back], labels[order][back]


# kNN agreement


def test_nearest_labels_by_hand(monkeypatch):
    reference = RealImages(classes=2, count=2, features=1, levels=4)
    reference.features.copy_(torch.tensor([[[0.0], [1.0]], [[2.0], [10.0]]]))
    places = torch.tensor([[1.4], [9.0], [0.1]])
    expected = [[0, 1, 0], [1, 1, 0], [0, 0, 1]]  # 1.4 is nearest to 1, then 2, then 0
    assert reference.nearest_labels(places, 3).tolist() == expected
    monkeypatch.setattr(real_images, "ROWS_AT_ONCE", 2)
    assert reference.nearest_labels(places, 3).tolist() == expected
    assert reference.nearest_labels(places[:0], 3).shape == (0, 3)

    scene = scene_of(brightness, places[:, :, None, None], torch.tensor([1, 1, 1]), judges={"reference": reference})
    scene.features = places
    agreement = realism.knn_agreement(scene, neighbours=3)
    assert agreement.tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 3])


def test_real_images_have_neighbours_of_their_own_class(bundle: Bundle, digits: Digits):
    images, labels = digits
    with torch.inference_mode():
        own = realism.knn_agreement(Scene.of(bundle, images, images, labels))
        other = realism.knn_agreement(Scene.of(bundle, images, images, (labels + 1) % 10))
    assert own.mean() > 0.97 and other.mean() < 0.01
    assert set(own.mul(5).round().tolist()) <= {0, 1, 2, 3, 4, 5}


def test_ten_fixed_images_fool_the_percentile(bundle: Bundle, digits: Digits):
    """More typical than real images are is not more real: why docs/metrics.md says that 50 is as good as it gets."""
    images, labels = digits
    with torch.inference_mode():
        percentile = realism.realism_percentile(Scene.of(bundle, images, images, labels))
    assert 40 < percentile.mean() < 60
    assert min(float(percentile[labels == label].max()) for label in range(10)) > 90


# COUT


def brightness(images: Tensor) -> Tensor:
    """A classifier that sees class 1 with the probability that is the sum of all values, which lies in [0, 1]."""
    share = images.sum(dim=(1, 2, 3)).clamp(1e-9, 1 - 1e-9)
    return torch.stack([1 - share, share], dim=1).log()


class Counting:
    """Counts the images that a classifier is asked about."""

    def __init__(self, classifier: Callable[[Tensor], Tensor]) -> None:
        self.classifier = classifier
        self.seen = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return self.classifier(images)


@pytest.mark.parametrize(
    ("pixels", "steps", "expected", "asked"),
    [
        # The sum after each replaced pixel is 0, 0.4, 0.7, 0.9, 1: AUPC 0.625 for class 1, 0.375 for class 0.
        ([0.2, 0.4, 0.1, 0.3], 4, 0.25, 5),
        # After each two: 0, 0.7, 1: AUPC 0.6 and 0.4.
        ([0.2, 0.4, 0.1, 0.3], 2, 0.2, 3),
        # After the first: 1, and pixels that do not change change nothing: AUPC 0.875 and 0.125.
        ([0.0, 0.0, 1.0, 0.0], 4, 0.75, 2),
        ([0.0, 0.0, 0.0, 0.0], 4, -1.0, 1),
    ],
)
def test_cout_by_hand(pixels: list[float], steps: int, expected: float, asked: int):
    factual, counterfactual = torch.zeros(1, 1, 2, 2), torch.tensor(pixels).view(1, 1, 2, 2)
    classifier = Counting(brightness)
    found = cout(classifier, factual, counterfactual, torch.tensor([0]), torch.tensor([1]), steps=steps)
    assert found.item() == pytest.approx(expected, abs=1e-5)
    assert classifier.seen == asked
    back = cout(brightness, factual, counterfactual, torch.tensor([1]), torch.tensor([0]), steps=steps)
    assert back.item() == pytest.approx(-expected, abs=1e-5)


def test_cout_orders_pixels_by_the_change_of_all_colours():
    # The second pixel changes more in sum (0.3 + 0.3), though the first has the largest single change.
    counterfactual = torch.tensor([[[[0.4, 0.3]], [[0.0, 0.3]]]])
    found = cout(brightness, torch.zeros(1, 2, 1, 2), counterfactual, torch.tensor([0]), torch.tensor([1]), steps=2)
    assert found.item() == pytest.approx(0.1, abs=1e-5)  # 0, 0.6, 1: AUPC 0.55 and 0.45


def test_cout_of_real_pairs(bundle: Bundle, right: Digits):
    images, labels = right[0][::5], right[1][::5]
    real, targets = other_digits(images, labels)
    unchanged = cout(bundle.classifier, images, images, labels, targets)
    assert unchanged.max() < -0.7
    found = load_engine("vcnet").from_bundle(bundle).search(bundle.classifier, images, targets).images
    rough = cout(bundle.classifier, images, found, labels, targets)
    fine = cout(bundle.classifier, images, found, labels, targets, steps=100)
    assert (rough - fine).abs().mean() < 0.01  # as docs/metrics.md says
    assert fine.min() > 0 and fine.max() <= 1
    swapped = cout(bundle.classifier, images, real, labels, targets)
    assert swapped.min() > 0
    # What fools it: it rewards certainty, so that any real image of the target does as well as a near one.
    assert swapped.mean() > rough.mean() - 0.05


def test_cout_does_not_depend_on_the_batch(bundle: Bundle, right: Digits, monkeypatch):
    real, targets = other_digits(*right)
    images, labels, real, targets = (t[::60][:6] for t in (*right, real, targets))
    together = cout(bundle.classifier, images, real, labels, targets)
    assert not together.requires_grad
    monkeypatch.setattr(transition, "LARGEST_BATCH", 7)
    assert torch.allclose(cout(bundle.classifier, images, real, labels, targets), together, atol=1e-5)
    rows = [cout(bundle.classifier, *(t[i : i + 1] for t in (images, real, labels, targets))) for i in range(6)]
    assert torch.allclose(torch.cat(rows), together, atol=1e-5)
    nothing = [t[:0] for t in (images, real, labels, targets)]
    assert cout(bundle.classifier, *nothing).shape == (0,)


# Robustness


def test_robust_noise_by_hand():
    def bright(images: Tensor) -> Tensor:
        """Class 1 where the pixel is above a half."""
        return torch.cat([torch.full((len(images), 1), 0.5), images.flatten(1)], dim=1)

    pixels = torch.tensor([0.0, 0.49, 0.51, 1.0]).view(4, 1, 1, 1)
    wanted = torch.ones(4, dtype=torch.int64)
    assert robust_noise(bright, pixels, wanted, deviation=0).tolist() == [0, 0, 1, 1]
    noise = torch.randn(1000, 1, 1, 1, generator=torch.Generator().manual_seed(3)).flatten()
    found = robust_noise(bright, pixels, torch.tensor([1, 1, 0, 1]), seed=3, copies=1000, deviation=0.1)
    expected = [0.0, float((0.49 + 0.1 * noise > 0.5).float().mean()), float((0.51 + 0.1 * noise < 0.5).float().mean())]
    assert found[:3].tolist() == pytest.approx(expected, abs=0.02)  # rounding to 8 bits moves a copy or two
    assert found[3] == 1


def test_the_noise_is_not_that_of_an_engines_questions():
    """`auto` tests its answers with noise of the seed of its questions; scored with the same, it would only pass."""
    images = torch.zeros(1, 1, 28, 28)
    patterns = robustness.noise_patterns(images)
    for seed in range(101):
        random = torch.Generator().manual_seed(seed)
        for _ in range(COPIES):  # as in `auto`
            of_engine = torch.randn(images.shape[1:], generator=random)
            assert not any(torch.equal(of_engine, pattern) for pattern in patterns)
    same = robustness.noise_patterns(images, seed=3)[1]
    random = torch.Generator().manual_seed(3)
    assert [torch.equal(torch.randn(images.shape[1:], generator=random), same) for _ in range(2)] == [False, True], (
        "with the same seed they would coincide"
    )


def test_real_images_hold_under_noise(bundle: Bundle, right: Digits):
    images, labels = right[0][::8], right[1][::8]

    def holds(labels: Tensor, deviation: float = robustness.DEVIATION, seed: int = 0) -> Tensor:
        return robust_noise(bundle.classifier, images, labels, seed=seed, deviation=deviation)

    assert holds(labels).mean() > 0.99
    assert holds((labels + 1) % 10).max() == 0
    assert holds(labels, 1.0).mean() < 0.3
    assert 0.1 < holds(labels, 0.3).mean() < 0.9
    assert torch.equal(holds(labels, 0.3), holds(labels, 0.3))
    assert not torch.equal(holds(labels, 0.3), holds(labels, 0.3, seed=1))


def test_noise_is_the_same_for_every_image(bundle: Bundle, right: Digits):
    images, labels = right[0][::40], right[1][::40]
    together = robust_noise(bundle.classifier, images, labels, deviation=0.3)
    assert len(together.unique()) > 1
    alone = [
        robust_noise(bundle.classifier, image[None], label[None], deviation=0.3)
        for image, label in zip(images, labels, strict=True)
    ]
    assert torch.equal(torch.cat(alone), together)
    assert robust_noise(bundle.classifier, images[:0], labels[:0]).shape == (0,)
    several = images.repeat(9, 1, 1, 1), labels.repeat(9)  # more than one call to the classifier
    assert torch.equal(robust_noise(bundle.classifier, *several, deviation=0.3), together.repeat(9))


def test_robust_retrained_is_the_share_of_classifiers(bundle: Bundle, right: Digits):
    images, labels = right[0][::8], right[1][::8]

    def two(batch: Tensor) -> Tensor:
        """The shipped classifier, and one that sees nothing but zeros."""
        zeros = F.one_hot(torch.zeros(len(batch), dtype=torch.int64), 10).float()
        return torch.stack([bundle.classifier(batch), zeros])

    found = robustness.robust_retrained(scene_of(bundle.classifier, images, labels, judges={"retrained": two}))
    assert found.tolist() == [1.0 if label == 0 else 0.5 for label in labels.tolist()]
    untrained = robustness.robust_retrained(
        scene_of(bundle.classifier, images, labels, judges={"retrained": Retrained(count=3, width=2).eval()})
    )
    assert untrained.shape == labels.shape and set(untrained.mul(3).round().tolist()) <= {0, 1, 2, 3}


# Fréchet distance


def test_frechet_distance_by_hand():
    # Means 1 and 5, deviations sqrt(2) and 2 sqrt(2): (1 - 5)^2 + (sqrt(2) - 2 sqrt(2))^2.
    assert sets.frechet_distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [7.0]])) == pytest.approx(18)
    # Covariances diag(4/3, 16/3) and diag(12, 16/3), means (0, 0) and (3, 4).
    corners = torch.tensor([[1.0, 2.0], [1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]])
    wide = corners * torch.tensor([3.0, 1.0]) + torch.tensor([3.0, 4.0])
    assert sets.frechet_distance(corners, wide) == pytest.approx(25 + 4 / 3 * (3 - 1) ** 2)
    with pytest.raises(ValueError, match="two rows"):
        sets.frechet_distance(corners, corners[:1])


def test_frechet_distance_of_covariances_that_do_not_commute():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(50, 4, generator=generator) @ torch.randn(4, 4, generator=generator) for _ in range(2))
    covariances = [torch.cov(features.double().T) for features in (first, second)]
    root = torch.linalg.eigvals(covariances[0] @ covariances[1]).real.sqrt().sum()
    expected = (first - second).double().mean(dim=0).square().sum() + sum(c.trace() for c in covariances) - 2 * root
    assert sets.frechet_distance(first, second) == pytest.approx(float(expected), rel=1e-6)
    assert sets.frechet_distance(second, first) == pytest.approx(float(expected), rel=1e-6)


def test_frechet_distance_of_real_images(bundle: Bundle, digits: Digits, features: Tensor):
    assert sets.frechet_distance(features, features) < 1e-6
    assert sets.frechet_distance(features[:5], features[:5]) < 1e-6  # fewer images than features
    dead = torch.cat([features, torch.zeros(len(features), 3)], dim=1)
    assert sets.frechet_distance(dead, dead) < 1e-6
    with torch.inference_mode():
        noise = bundle.part("judge").embed(torch.rand(200, 1, 28, 28, generator=torch.Generator().manual_seed(0)))
    real = sets.frechet_distance(features[::2], features[1::2])
    assert 0 < real < 1 < 20 * real < sets.frechet_distance(features[::2], noise[:, :16])


def test_split_frechet_compares_with_other_factuals(digits: Digits, features: Tensor):
    labels, ids = digits[1], torch.arange(400)
    floor, why = sets.split_frechet(ClassFeatures(features, labels), ClassFeatures(features, labels), ids)
    assert floor is not None and why == ""
    # The very factuals would be at distance 0; the other half's are not.
    assert sets.frechet_distance(features, features) < 1e-6 < 0.01 < floor < 1
    assert sets.split_frechet(ClassFeatures(features, labels), ClassFeatures(features, labels), ids) == (floor, "")
    assert sets.split_frechet(ClassFeatures(features, labels), ClassFeatures(features, labels), ids, seed=1)[0] != floor
    assert sets.split_frechet(ClassFeatures(features, labels), ClassFeatures(features, labels), ids * 7 + 3) == (
        floor,
        "",
    )
    noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    noisy, _ = sets.split_frechet(ClassFeatures(features + noise, labels), ClassFeatures(features, labels), ids)
    # Factuals that nobody changed look real, but not of their targets.
    unchanged, _ = sets.split_frechet(ClassFeatures(features, (labels + 1) % 10), ClassFeatures(features, labels), ids)
    assert noisy is not None and unchanged is not None
    assert 10 * floor < min(noisy, unchanged)


def test_split_frechet_draws_real_images_of_the_target_class(digits: Digits, features: Tensor):
    labels, ids = digits[1], torch.arange(400)
    lopsided = torch.where(labels < 5, 0, labels)  # half of all questions ask for a zero
    answers = features.clone()
    answers[labels < 5] = features[labels == 0].repeat(5, 1)
    few = 4  # features, for which the few zeros of a half are images enough
    found, _ = sets.split_frechet(
        ClassFeatures(answers[:, :few], lopsided), ClassFeatures(features[:, :few], labels), ids
    )
    everything = sets.frechet_distance(answers[:, :few], features[:, :few])
    assert found is not None and found < 0.5 * everything


def test_split_frechet_says_why_it_has_no_value(digits: Digits, features: Tensor):
    labels, ids = digits[1], torch.arange(400)
    value, why = sets.split_frechet(
        ClassFeatures(features[:40], labels[:40]), ClassFeatures(features[:40], labels[:40]), ids[:40]
    )
    assert value is None and re.fullmatch(r"only \d+ real images to compare with; 32 needed for 16 features", why)
    # Ten questions about each of forty images are no more real images than one about each.
    many, two_classes, same = (t[::10].repeat_interleave(10, dim=0) for t in (features, labels // 5, ids))
    value, why = sets.split_frechet(ClassFeatures(many, two_classes), ClassFeatures(many, two_classes), same)
    assert value is None and "real images to compare with" in why
    value, why = sets.split_frechet(ClassFeatures(features, labels * 0 + 10), ClassFeatures(features, labels), ids)
    assert value is None and why == "half of the factuals contain no real image of some target class"


def test_split_frechet_keeps_questions_about_one_image_together(digits: Digits, features: Tensor):
    """Were the copies of an image torn apart, it would be compared with itself."""
    labels, ids = digits[1], torch.arange(400)
    once, _ = sets.split_frechet(ClassFeatures(features, labels), ClassFeatures(features, labels), ids)
    both, labels, ids = features.repeat(2, 1), labels.repeat(2), ids.repeat(2)
    twice, _ = sets.split_frechet(ClassFeatures(both, labels), ClassFeatures(both, labels), ids)
    assert once is not None and twice == pytest.approx(once, rel=0.2)


# Diversity


def test_diversity_by_hand():
    images = torch.tensor([[0.0, 0.0], [0.3, 0.4], [0.0, 1.0]]).view(3, 1, 1, 2)
    expected = (0.5 + 1.0 + (0.09 + 0.36) ** 0.5) / 3
    assert sets.mean_distance(images) == pytest.approx(expected)
    assert sets.mean_distance(images[:1].repeat(4, 1, 1, 1)) == 0
    assert sets.mean_distance(images[:1]) is None and sets.mean_distance(images[:0]) is None


# LPIPS


def lpips_by_hand(weights: dict[str, Tensor], heads: dict[str, Tensor], first: Tensor, second: Tensor) -> Tensor:
    """LPIPS 0.1 written out from the paper and AlexNet's definition, for images (N, 3, 64, 64) in [0, 1]."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    layers = [(0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)]  # number, stride, padding

    def activations(images: Tensor) -> list[Tensor]:
        maps, x = [], (images * 2 - 1 - shift[:, None, None]) / scale[:, None, None]
        for number, stride, padding in layers:
            if number in (3, 6):
                x = F.max_pool2d(x, 3, 2)
            weight, bias = (weights[f"features.{number}.{name}"] for name in ("weight", "bias"))
            x = F.conv2d(x, weight, bias, stride, padding).relu()
            maps.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return maps

    pairs = zip(activations(first), activations(second), strict=True)
    weighted = [(heads[f"lin{i}.model.1.weight"] * (a - b).square()).sum(dim=1) for i, (a, b) in enumerate(pairs)]
    return torch.stack([distance.mean(dim=(1, 2)) for distance in weighted]).sum(dim=0)


@pytest.mark.slow
def test_lpips_is_what_the_paper_says(digits: Digits, monkeypatch):
    from safetensors.torch import load_file

    root = os.environ.get("CFX_DATA")
    path = Path(root).parent / "lpips" / "alexnet_features.safetensors" if root else None
    if path is None or not path.exists():
        pytest.skip("AlexNet's convolutions are not part of the repository")
    weights = load_file(path)
    # As torchvision's pretrained AlexNet prints it: the backbone is the genuine one.
    first_row = weights["features.0.weight"][0, 0, 0]
    assert first_row[:3].tolist() == pytest.approx([1.1864e-01, 9.4069e-02, 9.5435e-02], rel=1e-4)
    assert first_row[-3:].tolist() == pytest.approx([5.5822e-02, 2.1575e-02, 4.9963e-02], rel=1e-4)

    import lpips

    heads = torch.load(
        Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth", map_location="cpu", weights_only=True
    )
    monkeypatch.setenv(perceptual.VARIABLE, str(path))
    metric = perceptual.load_lpips(torch.device("cpu"))
    small = digits[0][::17]
    large = F.interpolate(small, size=(64, 64), mode="bilinear", align_corners=False)
    colours = large.view(-1, 3, 64, 64)  # three digits, one on top of the other
    expected = lpips_by_hand(weights, heads, colours[:4], colours[4:])
    assert expected.min() > 0.01
    assert torch.allclose(perceptual.lpips_distance(metric, colours[:4], colours[4:]), expected, atol=1e-5)
    grey = large.expand(-1, 3, -1, -1)
    expected = lpips_by_hand(weights, heads, grey[:12], grey[12:])
    assert torch.allclose(perceptual.lpips_distance(metric, small[:12], small[12:]), expected, atol=1e-5)


# The page


def test_every_metric_is_documented_and_no_other():
    """Name and direction of each, as the catalogue has them."""
    page = DOCUMENT.read_text(encoding="utf-8")
    documented = re.findall(r"^- \*\*`(\w+)`\*\* \((higher|lower|neither)\b", page, flags=re.MULTILINE)
    assert documented == [(metric.name, metric.better or "neither") for metric in METRICS]
    assert len(re.findall(r"^- \*\*", page, flags=re.MULTILINE)) == len(METRICS)
