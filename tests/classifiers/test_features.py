"""Features: what the layers of a classifier give, in whatever form it comes, and with gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cfx
from cfx.bundles.bundle import Bundle, load_bundle
from cfx.classifiers.foreign.activations import without_activation
from cfx.classifiers.foreign.adapted import Adapted
from cfx.classifiers.foreign.live import Borrowed
from cfx.classifiers.foreign.preprocessing import Preprocessing
from cfx.classifiers.foreign.programs import open_program
from cfx.classifiers.introspection.channels import ChannelStatistics
from cfx.classifiers.introspection.features import PenultimateFeatures, SpatialFeatures
from cfx.classifiers.introspection.layers import shows_layers
from cfx.counterfactuals.goal import TargetClass
from cfx.counterfactuals.problem import ModelError, Problem
from cfx.counterfactuals.registry import load_engine
from cfx.counterfactuals.request import SearchRequest

FEW: dict[str, dict[str, Any]] = {"auto": {"searches": 1}, "deduce": {"max_steps": 40}}


def asked(classifier, images: Tensor) -> Problem:
    goal = TargetClass(torch.zeros(len(images), dtype=torch.int64), 0.9)
    return Problem(classifier, SearchRequest(images=images, targets=goal.targets), goal)


def test_the_logits_are_the_last_layer_of_the_features(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images = digits[0][:5]
    problem = asked(bundle.classifier, images)
    features, log_probabilities = problem.features(images, problem.every_row())
    (last,) = [each for each in bundle.classifier.modules() if isinstance(each, nn.Linear) and each.out_features == 10]
    assert torch.allclose(last(features).log_softmax(dim=1), log_probabilities, atol=1e-5)
    assert torch.equal(problem.forward_calls, torch.ones(5, dtype=torch.int64))
    assert not last._forward_pre_hooks and not last._forward_hooks


def test_gradients_flow_to_the_image(bundle: Bundle, digits: tuple[Tensor, Tensor]):
    images = digits[0][:2].clone().requires_grad_()
    features, _ = asked(bundle.classifier, digits[0][:2]).features(images, torch.arange(2))
    (gradient,) = torch.autograd.grad(features.sum(), images)
    assert gradient.abs().sum() > 0


def test_a_layer_that_sees_every_position_gives_the_mean():
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(16, 10))
    classifier = nn.Sequential(tokens, nn.AdaptiveAvgPool2d((1, 10)), nn.Flatten())
    images = torch.rand(2, 3, 4, 4)
    features, _ = asked(classifier, images).features(images, torch.arange(2))
    assert torch.allclose(features, images.flatten(2).mean(dim=1))


@pytest.mark.parametrize(
    ("classifier", "wanted"),
    [
        (
            lambda images: images.flatten(1)[:, :10],
            r"shows no linear layer .*: export the model with torch.export as a",
        ),
        (nn.Sequential(nn.Conv2d(1, 10, 28), nn.Flatten()), "has no linear layer"),
    ],
)
def test_a_classifier_without_a_linear_layer_is_refused_in_a_sentence(
    classifier, wanted: str, digits: tuple[Tensor, Tensor]
):
    images = digits[0][:1]
    with pytest.raises(ModelError, match=rf"^the classifier {wanted}.* use an engine that reads none, such as swap"):
        asked(classifier, images).features(images, torch.arange(1))


# Forms of one classifier.


class Small(nn.Module):
    """A network with every kind of layer that features are read of."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.ConvTranspose2d(6, 5, 3, bias=False), nn.ReLU(),
        )  # fmt: skip
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(5, 5, 1), nn.Sigmoid())
        self.scaled = nn.Identity()
        self.hidden = nn.Linear(5 * 8 * 8, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maps(images)
        return self.head(self.hidden(self.scaled(maps * self.scale(maps)).flatten(1)).relu())


class Tokens(nn.Module):
    """Attends, applies its last layer at every position, and averages its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 3, stride=3)
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        heads = tokens.unflatten(2, (2, 4)).transpose(1, 2)  # (N, 2, 16, 4), which is no feature map
        attended = (heads @ heads.transpose(2, 3)).softmax(dim=3) @ heads
        return self.head(tokens + attended.transpose(1, 2).flatten(2)).mean(dim=1)


class Convolutions(nn.Sequential):
    """Has no linear layer."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


SIDE = 12
NETWORKS: dict[str, Callable[[], nn.Module]] = {"small": Small, "tokens": Tokens, "convolutions": Convolutions}
KINDS = (PenultimateFeatures, SpatialFeatures, ChannelStatistics)
READABLE = ["decomposed", "file", "fixed", "least", "live, fixed", "normalised", "program", "trimmed"]


class Forms:
    """One network in many forms, all with the same logits for images in [0, 1]."""

    def __init__(self, network: nn.Module, folder: Path) -> None:
        self.live = network.eval()
        images = torch.rand(4, 1, SIDE, SIDE)
        wide = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
        torch.export.save(wide, folder / "network.pt2")
        one = torch.export.export(network, (images,))
        soft = torch.export.export(nn.Sequential(network, nn.Softmax(dim=1)), (images,))
        bare = without_activation(soft.module(), images)
        assert bare is not None
        grey = Preprocessing(1)
        scaled = nn.Sequential(Rescaled(), network)
        undone = torch.export.export(scaled, (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
        with warnings.catch_warnings():  # torch announces the end of TorchScript
            warnings.simplefilter("ignore")
            self.script = torch.jit.trace(network, images)
        opened = open_program(folder / "network.pt2")
        self.readable: dict[str, nn.Module] = {
            "program": wide.module(),
            "decomposed": wide.run_decompositions().module(),
            "file": Adapted(Borrowed(opened.model), opened.preprocessing or grey),
            "fixed": Adapted(one.module(), grey, fixed_batch=4),
            "trimmed": Adapted(bare.model, grey, fixed_batch=4),
            "least": Adapted(wide.module(), grey, least_batch=9),
            "live, fixed": Adapted(network, grey, fixed_batch=4),
            "normalised": Adapted(undone.module(), Preprocessing(1, mean=(0.5,), std=(0.25,))),
        }


class Rescaled(nn.Module):
    """Undoes a normalisation."""

    def forward(self, images: Tensor) -> Tensor:
        return images * 0.25 + 0.5


@pytest.fixture(scope="module", params=[*NETWORKS])
def forms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Forms:
    torch.manual_seed(0)
    return Forms(NETWORKS[request.param](), tmp_path_factory.mktemp("forms"))


def read(kind: type, classifier: nn.Module, images: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Features, logits, and the gradient that the kind of features has; None if there are no features."""
    reader = kind(classifier, images[:1])
    if not (reader.channels if isinstance(reader, ChannelStatistics) else reader.layer is not None):
        return None
    inputs = images.clone().requires_grad_()
    features, logits = reader(inputs)
    if isinstance(reader, SpatialFeatures):
        (gradient,) = torch.autograd.grad(logits[:, 1].exp().sum(), features)
    else:
        (gradient,) = torch.autograd.grad(features.square().sum(), inputs)
    with torch.no_grad():
        assert torch.allclose(reader(images)[0], features, atol=1e-6)
    return features, logits, gradient


@pytest.mark.parametrize("form", READABLE)
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_has_the_features_of_the_live_network(forms: Forms, kind: type, form: str):
    images = torch.rand(6, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    classifier = forms.readable[form]
    states = [dict(vars(module)) for module in classifier.modules()]
    wanted, found = read(kind, forms.live, images), read(kind, classifier, images)
    assert [dict(vars(module)) for module in classifier.modules()] == states, "nothing stays behind"
    assert (wanted is None) == (found is None) == (kind is PenultimateFeatures and isinstance(forms.live, Convolutions))
    for one, other in zip(wanted or (), found or (), strict=True):
        assert one.shape == other.shape and torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_script_and_a_function_show_nothing(forms: Forms, kind: type):
    images = torch.rand(2, 1, SIDE, SIDE)
    for closed in (forms.script, Adapted(forms.script, Preprocessing(1)), lambda images: forms.live(images)):
        assert read(kind, closed, images) is None
        assert not shows_layers(closed)
    assert all(shows_layers(each) for each in forms.readable.values())


def test_the_statistics_are_those_of_the_outputs_of_convolutions():
    torch.manual_seed(0)
    network, images = Small().eval(), torch.rand(3, 1, SIDE, SIDE)
    statistics = ChannelStatistics(network, images[:1])
    assert statistics.channels == (6, 5), "a convolution of one pixel has no spread"
    first, second = statistics(images)[0].split(statistics.sizes, dim=1)
    maps = network.maps[0](images)
    assert torch.allclose(first, torch.cat([maps.mean(dim=(2, 3)), maps.flatten(2).std(dim=2, correction=0)], dim=1))
    maps = network.maps[:5](images)
    assert torch.allclose(second[:, :5], maps.mean(dim=(2, 3)), atol=1e-6)


def test_the_last_evaluation_of_a_shared_layer_counts():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, images: Tensor) -> Tensor:
            return self.convolution(self.convolution(images)).flatten(1)

    network, images = Twice().eval(), torch.rand(5, 1, SIDE, SIDE)
    for classifier in (network, Adapted(network, Preprocessing(1), fixed_batch=2)):
        features, logits = SpatialFeatures(classifier, images[:1])(images)
        assert torch.equal(features.flatten(1), logits) and torch.equal(logits, network(images))
        assert ChannelStatistics(classifier, images[:1]).channels == (1, 1)


def test_a_layer_that_is_changed_in_place_afterwards_keeps_its_output():
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(1, 2, 3)

        def forward(self, images: Tensor) -> Tensor:
            return nn.functional.relu(self.convolution(images), inplace=True).flatten(1)

    network, images = InPlace().eval(), torch.rand(2, 1, SIDE, SIDE)
    with torch.no_grad():
        features, logits = SpatialFeatures(network, images[:1])(images)
        assert torch.equal(features, network.convolution(images)) and torch.equal(logits, network(images))


def test_onnx_converted_by_onnx2torch_has_features():
    onnx = pytest.importorskip("onnx")
    convert = pytest.importorskip("onnx2torch").convert
    helper, weight, kernel = onnx.helper, torch.randn(16, 4), torch.randn(1, 1, 3, 3)
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["maps"]),
        helper.make_node("Flatten", ["maps"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
    constants = {"kernel": kernel, "weight": weight, "bias": torch.randn(4)}
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["N", 1, 6, 6])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", 4])],
        [onnx.numpy_helper.from_array(value.numpy(), name) for name, value in constants.items()],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    classifier = convert(model).eval()
    images = torch.rand(3, 1, 6, 6)
    maps = nn.functional.conv2d(images, kernel)
    assert torch.allclose(PenultimateFeatures(classifier, images[:1])(images)[0], maps.flatten(1), atol=1e-5)
    assert torch.allclose(SpatialFeatures(classifier, images[:1])(images)[0], maps, atol=1e-5)
    assert ChannelStatistics(classifier, images[:1]).channels == (1,)


# What is made of them.


@pytest.fixture(scope="module")
def program(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    """The shipped classifier, exported to a file and opened as a foreign one."""
    path = tmp_path_factory.mktemp("program") / "digits.pt2"
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(bundle.classifier, (torch.rand(2, 1, 28, 28),), dynamic_shapes=shapes), path)
    opened = open_program(path)
    return Adapted(opened.model, opened.preprocessing or Preprocessing(1))


@pytest.mark.parametrize("name", ["auto", "deduce"])
def test_an_engine_that_reads_features_finds_the_same_with_a_program(
    bundle: Bundle, program: nn.Module, digits: tuple[Tensor, Tensor], name: str
):
    images, targets = digits[0][:80:20], (digits[1][:80:20] + 3) % 10
    engines = [load_engine(name).from_bundle(bundle, **FEW[name]) for _ in range(2)]
    of_program, of_net = (
        engine.search(classifier, images, targets)
        for engine, classifier in zip(engines, (program, bundle.classifier), strict=True)
    )
    assert torch.equal(of_program.valid, of_net.valid)
    assert float((of_program.images - of_net.images).abs().max()) <= 1 / 255
    if name == "auto":
        assert of_program.about is not None
        assert any("changes that are not needed were then taken back" in each.notes for each in of_program.about)


def test_a_human_style_and_several_answers_of_a_program(program: nn.Module):
    image = Path(__file__).parents[2] / "examples" / "four.png"
    found: list[list[float | None]] = []
    for classifier in (None, program):
        bundle = load_bundle("mnist")
        if classifier is not None:
            bundle.models.put("classifier", classifier)
        options: Any = {"target": 9, "engine": "projection", "metrics": ["l1"], "style": "human"}
        answers = [*cfx.explain(image, bundle=bundle, count=2, **options)]
        assert len(answers) == 2 and all(answer.valid for answer in answers)
        found.append([answer.value("l1") for answer in answers])
    assert found[1] == pytest.approx(found[0], abs=0.1)
