"""The metrics order answers whose worth is known as reason demands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cfx.benchmarks.compare import read_finished
from cfx.benchmarks.controls import blur_by_half
from cfx.benchmarks.finish import write_results
from cfx.benchmarks.pool import RealPool, as_bytes
from cfx.benchmarks.settings import Settings
from cfx.benchmarks.suite import Benchmark
from cfx.bundles.bundle import Bundle, load_bundle
from cfx.counterfactuals.registry import load_engine
from cfx.errors import UsageError
from cfx.images.detail import fine_power
from cfx.images.resizing import resize_batch
from cfx.images.sets.labelled import Labelled
from cfx.runs.inputs import DataSetInputs


@pytest.fixture(scope="module")
def figures(bundle: Bundle, labelled, tmp_path_factory):
    """Means by metric and control, of 100 test digits; `pixel` and `vcnet` beside them."""
    return figures_of(bundle, labelled, tmp_path_factory.mktemp("controls") / "run")


def figures_of(bundle: Bundle, labelled: Labelled, directory: Path) -> Callable[[str, str], float]:
    """Means by metric and control, of 100 labelled images; `pixel` and `vcnet` beside them."""
    engines = {name: load_engine(name).from_bundle(bundle) for name in ("vcnet", "pixel")}
    import cfx.benchmarks.suite as suite

    patched = pytest.MonkeyPatch()
    patched.setattr(suite, "shipped_test_images", lambda bundle, data: labelled)
    settings = Settings(
        data=directory, count=len(labelled) // 4, controls=True, lpips=False, out=directory, batch_size=50
    )
    benchmark = Benchmark(bundle, engines, settings)
    patched.undo()
    assert isinstance(benchmark.inputs, DataSetInputs)
    with benchmark.directory.held(benchmark.identity):
        benchmark.sample()
        run = benchmark.load()
        summary = benchmark.answer(run)
        write_results(run, summary)
    read_finished(directory)

    def mean(engine: str, metric: str) -> float:
        told = summary.engines[engine].metrics[metric]
        found = told.get("all") or told.get("valid")
        assert found is not None
        return found.mean

    return mean


@pytest.fixture(scope="module")
def of_clothes(tmp_path_factory):
    """Means by metric and control, of 75 test images of Fashion-MNIST, 30 of each class in the pool."""
    with np.load(Path(__file__).parents[1] / "data" / "clothes.npz") as file:
        clothes = Labelled(torch.from_numpy(file["images"])[:, None], torch.from_numpy(file["labels"]))
    return figures_of(load_bundle("fashion-mnist"), clothes, tmp_path_factory.mktemp("clothes") / "run")


def test_validity(figures):
    assert figures("factual", "validity") == 0
    assert figures("random-real", "validity") > 0.7 and figures("nearest-real", "validity") > 0.6
    assert figures("pixel", "validity") > 0.99 and figures("vcnet", "validity") > 0.99


def test_judges_believe_real_images_and_not_noise(figures):
    for metric in ("judge_agrees", "referee_agrees", "knn_agreement", "robust_retrained"):
        assert figures("factual", metric) < 0.05, metric
        assert figures("random-real", metric) > 0.95, metric
        assert figures("nearest-real", metric) > 0.9, metric
        assert figures("pixel", metric) < figures("vcnet", metric) - 0.3, metric


def test_realism_is_that_of_real_images(figures):
    assert 35 < figures("random-real", "realism_percentile") < 65, "a random real image is as typical as the median"
    assert figures("random-real", "looks_real") > 0.88
    assert figures("pixel", "looks_real") < 0.1 < figures("vcnet", "looks_real")
    assert figures("random-real", "im1") < 1 < figures("factual", "im1"), "to the target's manifold, or the factual's"
    assert figures("random-real", "im1") < figures("pixel", "im1")


def test_noise_and_other_classes_do_not_look_real_on_clothes_either(of_clothes):
    """The texture of clothes is as fine as adversarial noise, and their classes are less distinct than digits."""
    assert of_clothes("random-real", "looks_real") > 0.88
    for name in ("pixel", "factual", "blurred-real"):
        assert of_clothes(name, "looks_real") < 0.1, name
    assert of_clothes("pixel", "class_percentile") < 5 < 30 < of_clothes("random-real", "class_percentile")
    assert of_clothes("factual", "referee_agrees") < 0.05 < 0.8 < of_clothes("random-real", "referee_agrees")


def test_blurred_and_redrawn_images_of_the_target_do_not_look_as_real(figures):
    for name in ("blurred-real", "redrawn-real"):
        assert figures(name, "validity") > 0.6 and figures(name, "judge_agrees") > 0.9, name
    assert figures("blurred-real", "looks_real") <= 0.1, "the judges believe it, and it is blurred"
    assert figures("blurred-real", "realism_percentile") > 30, "which their features do not tell"
    assert figures("blurred-real", "sharpness_percentile") < 1.5 < figures("random-real", "sharpness_percentile")
    assert figures("redrawn-real", "looks_real") < figures("random-real", "looks_real")


def test_a_blur_by_half_leaves_half_the_power_where_it_is_judged(digits):
    image = digits[0][:1]
    assert fine_power(blur_by_half(image)).item() == pytest.approx(fine_power(image).item() / 2, rel=0.01)
    large = resize_batch(image, (84, 84))
    found = resize_batch(blur_by_half(large, (28, 28)), (28, 28))
    assert fine_power(found).item() == pytest.approx(fine_power(resize_batch(large, (28, 28))).item() / 2, rel=0.01)
    assert blur_by_half(torch.full((1, 1, 8, 8), 0.5)).allclose(torch.tensor(0.5)), "nothing to blur"


def test_distance_grows_from_none_to_any_image(figures):
    for metric in ("l1", "l2"):
        none, noise = figures("factual", metric), figures("pixel", metric)
        nearest, any_image = figures("nearest-real", metric), figures("random-real", metric)
        assert none == 0 < noise < nearest < any_image, metric
        assert figures("vcnet", metric) < any_image, metric


def test_only_an_answer_changes_the_classifiers_mind(figures):
    assert figures("factual", "cout") < -0.8
    assert figures("random-real", "cout") > 0


def test_a_control_never_answers_with_the_factual_itself():
    images = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    pool = RealPool(as_bytes(images), torch.eye(2).repeat(3, 1))
    assert pool.others(pool.floats(torch.tensor(2)), 0).tolist() == [0, 4]
    assert pool.others(pool.floats(torch.tensor(2)), 1).tolist() == [1, 3, 5]


def test_controls_need_real_images_of_every_class(make, folder, tmp_path):
    lone = tmp_path / "lone"
    lone.mkdir()
    for path in sorted(folder.iterdir())[:6]:
        (lone / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match=r"--controls: fewer than two of the images are of class .*9"):
        make("vcnet", images=str(lone), controls=True)


def test_a_classifier_learns_from_real_images_and_not_from_noise(figures, of_clothes):
    """Trained on the answers, a nearest neighbour is tested on the images that asked nothing."""
    for found in (figures, of_clothes):
        worth = {name: found(name, "substitutability") for name in
                 ("random-real", "blurred-real", "vcnet", "pixel", "factual")}  # fmt: skip
        assert min(worth["random-real"], worth["blurred-real"], worth["vcnet"]) > worth["pixel"] + 0.3, worth
        assert worth["pixel"] >= worth["factual"], worth
