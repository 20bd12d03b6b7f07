"""A foreign classifier behind the contract: the same answers and gradients, whatever it takes and returns."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cfx.bundles.bundle import Bundle
from cfx.classifiers.foreign.adapted import Adapted, has_gradients
from cfx.classifiers.foreign.outputs import guess_output, output_tensor
from cfx.classifiers.foreign.preprocessing import MULTI_LABEL, OUTPUTS, Preprocessing, candidates
from cfx.classifiers.introspection.frozen import frozen_eval
from cfx.errors import UsageError

GREY = Preprocessing(1)
MNIST = Preprocessing(1, mean=(0.1307,), std=(0.3081,))


@pytest.fixture(scope="module")
def bare(bundle: Bundle) -> nn.Module:
    """The shipped classifier without its own normalisation, as a user would have trained it."""
    classifier: Any = bundle.classifier
    return nn.Sequential(classifier.features, classifier.head).eval()


def accuracy(classifier: nn.Module, digits: tuple[Tensor, Tensor]) -> float:
    images, labels = digits
    with torch.no_grad():
        return float((classifier(images).argmax(1) == labels).float().mean())


def same(found: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> bool:
    return found.shape == wanted.shape and float((found - wanted).detach().abs().max()) < tolerance


# What the model takes.


def test_normalisation_outside_the_model(bundle: Bundle, bare: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    for preprocessing in (MNIST, Preprocessing(1, scale=255.0, mean=(0.1307 * 255,), std=(0.3081 * 255,))):
        adapted = Adapted(bare, preprocessing)
        assert same(adapted(digits[0][:50]), bundle.classifier(digits[0][:50]), 1e-3)
        assert accuracy(adapted, digits) == accuracy(bundle.classifier, digits) > 0.95


def test_the_right_normalisation_is_the_most_accurate(bare: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    images, labels = digits
    losses = {
        name: float(nn.functional.cross_entropy(Adapted(bare, preprocessing)(images), labels))
        for name, preprocessing in candidates(Preprocessing(1)).items()
    }
    assert min(losses, key=losses.__getitem__) == "mnist"
    assert "imagenet" not in losses and set(losses) < set(candidates(Preprocessing(3)))


def test_grey_and_colour() -> None:
    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 1
    assert same(GREY.to_input(red), torch.full((1, 1, 2, 2), 0.299))
    assert same(GREY.to_input(torch.ones(1, 3, 2, 2)), torch.ones(1, 1, 2, 2))
    assert same(Preprocessing(3).to_input(torch.full((1, 1, 2, 2), 0.4)), torch.full((1, 3, 2, 2), 0.4))
    flipped = Preprocessing(3, order="bgr").to_input(red)
    assert flipped[0, :, 0, 0].tolist() == [0, 0, 1]
    with pytest.raises(UsageError, match=r"1 or 3, H, W\), got \(1, 4, 2, 2\)"):
        GREY.to_input(torch.zeros(1, 4, 2, 2))


def test_each_channel_has_its_own_mean_which_is_in_units_after_scale() -> None:
    found = Preprocessing(3, scale=255.0, mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 4.0)).to_input(torch.ones(1, 3, 1, 1))
    assert found.flatten().tolist() == [254.0, 126.5, 63.0]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_resizing(bundle: Bundle, digits: tuple[Tensor, Tensor], interpolation: str) -> None:
    big = nn.functional.interpolate(digits[0], (84, 84), mode="nearest")
    adapted = Adapted(bundle.classifier, Preprocessing(1, (28, 28), interpolation=interpolation))
    assert adapted.preprocessing.to_input(big).shape == (400, 1, 28, 28)
    assert float(adapted.preprocessing.to_input(big).min()) >= 0
    assert accuracy(adapted, (big, digits[1])) >= accuracy(bundle.classifier, digits) - 0.02
    assert has_gradients(adapted, big[:2])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"channels": 2}, "channels is 2; it must be 1 or 3"),
        ({}, "channels is missing"),
        ({"channels": 1, "sise": [1, 2]}, "unknown preprocessing field 'sise': did you mean 'size'"),
        ({"channels": 1, "size": [28]}, "must be height and width"),
        ({"channels": 1, "size": [28, 0]}, "must be height and width"),
        ({"channels": 1, "order": "gbr"}, "unknown preprocessing order 'gbr'"),
        ({"channels": 1, "interpolation": "lanczos"}, "unknown preprocessing interpolation 'lanczos'"),
        ({"channels": 1, "output": "softmax"}, "unknown preprocessing output 'softmax'"),
        ({"channels": 1, "scale": 0}, "scale is 0; it must be a number above 0"),
        ({"channels": 1, "scale": "255"}, "scale is '255'"),
        ({"channels": 1, "mean": [1, 2, 3]}, "mean is .* it must be one number"),
        ({"channels": 3, "mean": [1, 2]}, "mean is .* it must be 1 or 3 numbers"),
        ({"channels": 1, "mean": 0.5}, "mean is 0.5; it must be one number"),
        ({"channels": 1, "std": [float("nan")]}, "std is .* it must be one number"),
        ({"channels": 1, "std": [0.0]}, "std is .* must not be 0"),
    ],
)
def test_bad_preprocessing_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Preprocessing.from_dict(values)


def test_preprocessing_survives_toml_values() -> None:
    for made in (MNIST, Preprocessing(3, (224, 200), "bgr", 255.0, (1.0, 2.0, 3.0), (1.0,), "bicubic", "sigmoid")):
        values = made.as_dict()
        assert all(isinstance(value, int | float | str | list) for value in values.values())
        assert Preprocessing.from_dict(values) == made


# What it answers.


@pytest.mark.parametrize("output", [output for output in OUTPUTS if output not in MULTI_LABEL])
def test_every_kind_of_answer_is_guessed_and_means_the_same(
    bundle: Bundle, digits: tuple[Tensor, Tensor], output: str
) -> None:
    images = digits[0][:60]
    two = output in ("sigmoid", "binary-logit")
    full = bundle.classifier(images)
    wanted = torch.stack([full[:, 3], full[:, 8]], dim=1).softmax(1) if two else full.softmax(1)

    class Answering(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            logits = bundle.classifier(inputs)
            difference = logits[:, 8] - logits[:, 3]
            return {
                "logits": logits,
                "probabilities": logits.softmax(1),
                "log-probabilities": logits.log_softmax(1),
                "sigmoid": difference.sigmoid()[:, None],
                "binary-logit": difference,
            }[output]

    adapted = Adapted(Answering(), Preprocessing(1, output=output))
    assert guess_output(adapted.raw(images)) == output
    assert same(adapted(images).softmax(1), wanted, 1e-5)
    assert has_gradients(adapted, images)


@pytest.mark.parametrize(("output", "value"), [("probabilities", [1.0, 0.0]), ("sigmoid", [1.0]), ("sigmoid", [0.0])])
def test_a_certain_answer_keeps_logits_and_gradients_finite(output: str, value: list[float]) -> None:
    probabilities = torch.tensor([value], requires_grad=True)
    logits = Preprocessing(1, output=output).to_logits(probabilities)
    logits.log_softmax(1).sum().backward()
    assert logits.isfinite().all() and float(logits.detach().diff().abs()) > 20
    assert probabilities.grad is not None and probabilities.grad.isfinite().all()


def test_the_logarithm_of_zero_is_finite() -> None:
    logits = Preprocessing(1, output="log-probabilities").to_logits(torch.tensor([[0.0, -float("inf")]]))
    assert logits.isfinite().all() and same(logits.softmax(1), torch.tensor([[1.0, 0.0]]), 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_probabilities_keep_their_order_and_finite_gradients(dtype: torch.dtype) -> None:
    values = torch.tensor([[1.0, 0.5, 1e-3, 1e-7, 1e-30, 1e-39, 0.0]]).to(dtype).requires_grad_()
    logits = Preprocessing(1, output="probabilities").to_logits(values)
    assert logits.dtype == torch.float32 and logits.isfinite().all()
    positive = values > 0
    assert torch.allclose(logits[positive].double(), values[positive].double().log(), rtol=1e-6)
    assert bool((logits.diff()[values.diff() < 0] < 0).all())
    (gradient,) = torch.autograd.grad(logits.sum(), values)
    normal = values.detach() >= torch.finfo(dtype).tiny
    assert gradient.isfinite().all() and gradient[normal].gt(0).all() and gradient[values == 0].eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_one_sigmoid_keeps_small_probabilities_of_both_classes(dtype: torch.dtype) -> None:
    values = torch.tensor([0.0, 1e-7, 1e-3, 0.5, 1 - 2**-7, 1.0]).to(dtype).requires_grad_()
    logits = Preprocessing(1, output="sigmoid").to_logits(values)
    within = (values > 0) & (values < 1)
    assert torch.allclose(logits[within, 0].double(), torch.log1p(-values[within].double()), rtol=1e-6, atol=0)
    assert torch.allclose(logits[within, 1].double(), values[within].double().log(), rtol=1e-6, atol=0)
    margins = logits[:, 1] - logits[:, 0]
    assert logits.isfinite().all() and bool((margins.diff() > 0).all())
    (gradient,) = torch.autograd.grad(margins.sum(), values)
    assert gradient.isfinite().all() and gradient[values >= 1e-3].gt(0).all()


def test_only_infinite_log_probabilities_are_replaced() -> None:
    values = torch.tensor([[0.0, -250.0, -120.0, -float("inf")], [0.0, -1.0, -float("inf"), -5.0]]).requires_grad_()
    logits = Preprocessing(1, output="log-probabilities").to_logits(values)
    finite = values.isfinite()
    assert torch.equal(logits[finite], values[finite])
    assert (
        logits[0, 3] == -250 and -104 < float(logits[1, 2].detach()) < -103
    )  # not above any finite value of its image
    (gradient,) = torch.autograd.grad(logits.sum(), values)
    assert torch.equal(gradient, finite.float())


def test_what_is_not_a_number_is_not_hidden() -> None:
    for output in ("probabilities", "log-probabilities"):
        values = torch.tensor([[float("nan"), 0.5]])
        assert Preprocessing(1, output=output).to_logits(values).isnan().any()
    assert Preprocessing(1, output="sigmoid").to_logits(torch.tensor([float("nan")])).isnan().all()


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda t: (t, t.sum()),
        lambda t: [None, t],
        lambda t: {"features": t[:, :2], "logits": t},
        lambda t: {"out": t},
        lambda t: SimpleNamespace(logits=t, loss=None),
        lambda t: t.detach().numpy(),
    ],
)
def test_the_logits_are_found_in_what_the_model_returns(wrapped: Any) -> None:
    tensor = torch.rand(3, 4)
    assert torch.equal(output_tensor(wrapped(tensor)), tensor)


@pytest.mark.parametrize(
    ("function", "output", "sentence"),
    [
        (lambda x: "seven", "logits", "returned a str without a tensor"),
        (lambda x: [None], "logits", "returned a list without a tensor"),
        (lambda x: x, "logits", r"returns \(4, 1, 28, 28\) where \(N, K\) logits"),
        (lambda x: x.mean(dim=(1, 2, 3)), "logits", "for one number per image set its output to sigmoid"),
        (lambda x: x.flatten(1), "sigmoid", "'sigmoid' means one number per image"),
        (lambda x: x.flatten(1)[:1], "logits", r"returns \(1, 784\) for 4 images"),
        (lambda x: x.sum(), "logits", r"returns \(\) for 4 images"),
    ],
)
def test_an_answer_of_the_wrong_shape_is_one_sentence(function: Any, output: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Adapted(function, Preprocessing(1, output=output))(torch.rand(4, 1, 28, 28))


# Some classes of many.


def test_probabilities_among_chosen_columns_are_those_of_their_logits(
    bundle: Bundle, digits: tuple[Tensor, Tensor]
) -> None:
    images = digits[0][:80]
    found = Adapted(bundle.classifier, GREY, columns=[7, 2])(images)
    assert torch.equal(found, bundle.classifier(images)[:, [7, 2]])


@pytest.mark.parametrize(("output", "kind"), MULTI_LABEL.items())
def test_a_label_of_several_makes_two_classes(bundle: Bundle, digits: tuple[Tensor, Tensor], output: str, kind: str):
    images = digits[0][:20]
    model = bundle.classifier if output.endswith("logits") else lambda x: bundle.classifier(x).sigmoid()
    found = Adapted(model, Preprocessing(1, output=output, label=3))(images).softmax(1)
    positive = bundle.classifier(images)[:, 3].sigmoid()
    assert same(found, torch.stack([1 - positive, positive], dim=1), 1e-5)
    with pytest.raises(UsageError, match="has no label 12, counted from 0"):
        Adapted(model, Preprocessing(1, output=output, label=12))(images)
    with pytest.raises(UsageError, match="several labels, and none is chosen; choose one with --label"):
        Adapted(model, Preprocessing(1, output=output))(images)


def test_all_columns_are_only_put_in_order(bundle: Bundle, digits: tuple[Tensor, Tensor]) -> None:
    backwards = Adapted(bundle.classifier, GREY, columns=range(9, -1, -1))(digits[0][:5])
    assert torch.equal(backwards, bundle.classifier(digits[0][:5]).flip(1))


def test_impossible_columns_are_refused(bundle: Bundle, digits: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(UsageError, match=r"columns \[3, 10\]: the classifier has 10 classes"):
        Adapted(bundle.classifier, GREY, columns=[3, 10])(digits[0][:2])
    for columns in ([1, 1], [-1], []):
        with pytest.raises(UsageError, match="at least one class, none below 0 and none twice"):
            Adapted(bundle.classifier, GREY, columns=columns)


# How it is called.


@pytest.mark.parametrize("count", [0, 1, 4, 6, 9])
def test_a_fixed_batch_is_served(bundle: Bundle, digits: tuple[Tensor, Tensor], count: int) -> None:
    asked = []

    def four_at_once(images: Tensor) -> Tensor:
        asked.append(len(images))
        return bundle.classifier(images)

    images = digits[0][:count].clone().requires_grad_()
    logits = Adapted(four_at_once, GREY, fixed_batch=4)(images)
    wanted = bundle.classifier(images)
    assert set(asked) == {4} and logits.shape == (count, 10)
    if count:
        assert same(logits, wanted)
        (found,) = torch.autograd.grad(logits[:, 3].sum(), images)
        (expected,) = torch.autograd.grad(wanted[:, 3].sum(), images)
        assert same(found, expected)


def test_the_foreign_model_is_never_trained(bundle: Bundle, digits: tuple[Tensor, Tensor]) -> None:
    model = nn.Sequential(nn.Dropout(0.9), bundle.classifier)
    adapted = Adapted(model.train(), GREY)
    before = adapted(digits[0][:8])
    assert adapted.train().training and not adapted.eval().training
    assert not any(module.training for module in model.modules())
    with frozen_eval(adapted):
        assert torch.equal(adapted(digits[0][:8]), before)
    adapted.train().requires_grad_(False).to("cpu")
    assert torch.equal(adapted(digits[0][:8]), before)


def test_has_gradients_tells_the_truth(bundle: Bundle, digits: tuple[Tensor, Tensor]) -> None:
    images = digits[0][:4]
    assert has_gradients(Adapted(bundle.classifier, GREY), images)
    with torch.inference_mode():
        assert has_gradients(Adapted(bundle.classifier, GREY), images.clone())
    box = Adapted(bundle.classifier, GREY, differentiable=False)
    asked = images.clone().requires_grad_()
    assert not box(asked).requires_grad and not has_gradients(box, images)
    assert same(box(images), bundle.classifier(images))
    assert not has_gradients(Adapted(lambda x: bundle.classifier(x.round()), GREY), images)
    assert not has_gradients(Adapted(lambda x: bundle.classifier(x / x.sum() * float("nan")), GREY), images)
    assert not has_gradients(Adapted(lambda x: torch.ones(len(x), 3, requires_grad=True), GREY), images)
