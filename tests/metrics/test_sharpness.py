"""The half of realism that needs no network: real images pass, and blurred, redrawn or noisy ones do not."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from cfx.answers.pictures.overview import findings
from cfx.bundles.bundle import Bundle, load_bundle
from cfx.images.detail import FINEST, fine_power, frequencies, measure_detail, measure_noise, power
from cfx.images.resizing import resize_batch
from cfx.images.sets.labelled import Labelled
from cfx.judges.matched_filter import MatchedFilter
from cfx.judges.noise import Noise
from cfx.judges.real_images import RealImages
from cfx.judges.residual import ResidualNet
from cfx.judges.sharpness import Sharpness
from cfx.metrics.evaluate import score
from cfx.metrics.ranges import NOISE as NOISE_RANGE
from cfx.metrics.ranges import SHARPNESS
from cfx.metrics.scene import Scene
from cfx.training.matched_filter import BLUR, INVISIBLE, NOISE, fit_filter, measure_effects
from cfx.training.parts.reference import ReferencePart

Digits = tuple[Tensor, Tensor]


def blurred(images: Tensor, sigma: float) -> Tensor:
    return (gaussian_blur(images, [13, 13], [sigma, sigma]) * 255).round() / 255


@pytest.fixture(scope="module")
def sharpness(bundle: Bundle) -> Sharpness:
    found = bundle.part("reference", RealImages).sharpness
    assert found is not None
    return found


@pytest.fixture(scope="module")
def noise(bundle: Bundle) -> Noise:
    found = bundle.part("reference", RealImages).noise
    assert found is not None
    return found


def noisy(images: Tensor, deviation: float) -> Tensor:
    random = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    return ((images + deviation * random).clamp(0, 1) * 255).round() / 255


# Measures of detail


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 17, 40), (1, 3, 3), (3, 4, 9), (2, 16, 16)])
def test_the_transform_keeps_the_power_and_measures_are_finite_and_per_image(shape):
    images = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(power(images).sum(dim=(1, 2, 3)), images.square().sum(dim=(1, 2, 3)), rtol=1e-4)
    found = measure_detail(images)
    assert found.isfinite().all() and torch.allclose(found[2:3], measure_detail(images[2:3]), atol=1e-5)
    assert measure_detail(torch.zeros_like(images)).isfinite().all()
    assert measure_detail(images[:0]).shape == (0, found.shape[1])
    more = measure_noise(images)
    assert more.shape == (5, found.shape[1] + 3) and torch.equal(more[:, :-3], found)
    assert more.isfinite().all() and torch.allclose(more[2:3], measure_noise(images[2:3]), atol=1e-5)
    assert measure_noise(images[:0]).shape == (0, more.shape[1])


def test_the_finest_octave_is_what_changes_from_pixel_to_pixel():
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2.0
    wave = torch.cos(torch.arange(16) * torch.pi / 8).expand(16, 16) / 2 + 0.5  # one in 16 pixels
    for image, share in ((board, 1.0), (wave, 0.0)):
        changes = (image - image.mean())[None, None]
        assert fine_power(changes).item() == pytest.approx(share * changes.square().sum().item(), rel=0.01, abs=0.05)
    assert float(frequencies(wave[None, None])[0].max()) > 2 * FINEST


# The laws of sharpness


def test_real_images_have_all_percentiles_alike(sharpness: Sharpness, digits: Digits):
    percentile = sharpness.percentile(*digits)
    quarters = torch.histc(percentile, 4, 0, 100) / len(percentile)
    assert quarters.sub(0.25).abs().max() < 0.08
    assert SHARPNESS.holds(percentile).float().mean() > 0.94
    other = sharpness.percentile(digits[0], (digits[1] + 1) % 10)
    assert 10 < other.mean() < 90, "it is no judge of classes"


def test_blur_lowers_it_and_noise_raises_it(sharpness: Sharpness, digits: Digits):
    images, labels = digits
    found = [sharpness.strength(images, labels)]
    found += [sharpness.strength(blurred(images, sigma), labels) for sigma in (0.35, 0.5, 0.7, 1.0)]
    for less, more in pairwise(found):
        assert (less < more).float().mean() > 0.99
    assert found[0].mean().abs() < 0.1 and found[2].mean() == pytest.approx(1, abs=0.1), "the unit is a blur by half"
    for sigma in (0.5, 1.0, 2.0, 3.0):
        assert (sharpness.percentile(blurred(images, sigma), labels) < SHARPNESS.low).all()
    assert (sharpness.percentile(torch.full_like(images, 0.5), labels) < SHARPNESS.low).all(), "there is no detail"
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    assert (sharpness.percentile(noise, labels) > SHARPNESS.high).all()


def test_a_blurred_image_does_not_look_real_though_the_judge_sees_nothing(bundle: Bundle, digits: Digits):
    images, labels = digits
    with torch.inference_mode():
        columns = score(Scene.of(bundle, images, blurred(images, 0.5), labels)).columns
    looks, realism = columns["looks_real"], columns["realism_percentile"]
    assert looks is not None and realism is not None
    assert not looks.any() and (realism >= 2.5).float().mean() > 0.9


def test_a_reference_of_an_earlier_version_says_how_to_make_it_anew(bundle: Bundle, digits: Digits, answer):
    new = bundle.part("reference", RealImages)
    old = RealImages(*new.features.shape, levels=new.distances.shape[1])
    old.load_state_dict({name: each for name, each in new.state_dict().items() if name in ("features", "distances")})
    opened = load_bundle("mnist")
    opened.judges.put("reference", old)
    scores = score(Scene.of(opened, digits[0][:2], digits[0][:2], digits[1][:2]))
    for name in ("looks_real", "class_percentile", "sharpness_percentile", "noise_percentile"):
        assert scores.columns[name] is None
        assert scores.missing[name] == (
            "the bundle's reference was made by an earlier version; `cfx train DIR --only reference` makes it anew"
        )
    assert scores.columns["realism_percentile"] is not None and scores.columns["knn_agreement"] is not None
    unknown: Any = {**answer.metrics, "looks_real": None, "sharpness_percentile": None}
    told = [text for text, _ in findings(SimpleNamespace(**{**shown(answer), "metrics": unknown}))]  # pyright: ignore[reportArgumentType]
    assert "realism percentile 62" in told and not any("look" in text for text in told)


def test_a_reference_without_noise_keeps_its_other_percentiles(bundle: Bundle, digits: Digits):
    new = bundle.part("reference", RealImages)
    old = RealImages(*new.features.shape, levels=new.distances.shape[1], details=30)
    buffers = {name: each for name, each in new.state_dict().items() if not name.startswith(("noise", "margins"))}
    old.load_state_dict(buffers)
    opened = load_bundle("mnist")
    opened.judges.put("reference", old)
    scores = score(Scene.of(opened, digits[0][:2], digits[0][:2], digits[1][:2]))
    assert {name for name in scores.missing if "earlier version" in scores.missing[name]} == {
        *("looks_real", "class_percentile", "noise_percentile")
    }
    assert scores.columns["sharpness_percentile"] is not None and scores.columns["realism_percentile"] is not None


def shown(answer: Any) -> dict[str, Any]:
    """What `findings` reads of an answer that has one metric only."""
    names = ("target_confidence", "target", "valid", "cost", "question")
    return {name: getattr(answer, name) for name in names} | {"value": {"realism_percentile": 62.0}.get}


# The laws of noise


def test_visible_noise_is_noise_and_invisible_noise_is_none(noise: Noise, digits: Digits):
    images, labels = digits
    found = [noise.strength(noisy(images, deviation / 255), labels) for deviation in (0, 2, 5, 12, 32)]
    for less, more in pairwise(found):
        assert (less < more).float().mean() > 0.95
    assert NOISE_RANGE.holds(noise.percentile(images, labels)).float().mean() > 0.96
    assert NOISE_RANGE.holds(noise.percentile(noisy(images, INVISIBLE / 2), labels)).float().mean() > 0.9
    assert not NOISE_RANGE.holds(noise.percentile(noisy(images, 0.05), labels)).any()
    assert NOISE_RANGE.holds(noise.percentile(blurred(images, 0.5), labels)).float().mean() > 0.95, "blur is not noise"
    assert NOISE_RANGE.holds(noise.percentile(images, (labels + 1) % 10)).float().mean() > 0.8, (
        "it is no judge of classes"
    )


# Fitting


@pytest.mark.parametrize("counts", [(1, 1), (3, 2), (40, 1)])
def test_a_handful_of_images_is_enough(counts: tuple[int, int]):
    labels = torch.tensor([0] * counts[0] + [2] * counts[1])
    images = torch.rand(len(labels), 3, 16, 16, generator=torch.Generator().manual_seed(0))
    kinds: tuple[type[Sharpness | Noise], ...] = (Sharpness, Noise)
    for kind, details in zip(kinds, measure_effects([images], labels, (BLUR, NOISE)), strict=True):
        model: MatchedFilter = kind(3, details.measures.shape[1])
        fit_filter(model, details, [0, 2])
        assert all(buffer.isfinite().all() for buffer in model.buffers())
        assert (model.quantiles.diff(dim=1) >= 0).all()
        if kind is Sharpness:
            assert (model.percentile(blurred(images, 2.0), labels) == 0).all()


def test_a_reference_is_made_without_the_test_images(bundle: Bundle, digits: Digits):
    """And with held-out images that are in the training images as well, at a distance of 0."""
    images, labels = digits
    real = Labelled((images[::4] * 255).byte(), labels[::4])
    split = SimpleNamespace(judge_train=real, judge_held_out=real)  # there is nothing else to look at
    context: Any = SimpleNamespace(split=split, count=10, present=list(range(10)), is_resized=False, bundle=bundle)
    context.photos = lambda subset, count: getattr(split, subset)[:count].floats().split(50)
    made = ReferencePart(count=3).make(context)["reference"].model
    assert isinstance(made, RealImages) and all(buffer.isfinite().all() for buffer in made.buffers())
    assert (made.distances.diff(dim=1) >= 0).all() and (made.margins.diff(dim=1) >= 0).all()
    judge = bundle.part("judge", ResidualNet)
    with torch.inference_mode():
        found = judge.embed(real.floats())
        assert 40 < made.percentile(found, real.labels).mean() < 60, "those that it was made with"
        assert made.class_percentile(found, (real.labels + 1) % 10).mean() < 5


def test_photos_are_resized_as_answers_are():
    photos = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    small = Labelled((photos[:, :, ::2, ::2] * 255).byte(), torch.tensor([0, 1, 0, 1]))

    def shrink(images: Tensor) -> Tensor:
        return resize_batch(images, (16, 16))

    context: Any = SimpleNamespace(split=SimpleNamespace(judge_train=small), count=2, present=[0, 1], is_resized=False)
    context.bundle = SimpleNamespace(shrink=shrink)
    context.photos = lambda subset, count: small[:count].floats().split(3)
    straight, _ = ReferencePart()._details(context)
    context.is_resized, context.photos = True, lambda subset, count: photos[:count].split(3)
    found, _ = ReferencePart()._details(context)
    assert torch.equal(found.measures, measure_detail(shrink(photos)))
    assert torch.equal(straight.measures, measure_detail(small.floats()))
