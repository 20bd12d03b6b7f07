"""A classifier without its last activation: in every form, the activation of what remains is what it answered."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from cfx.classifiers.foreign.activations import ACTIVATIONS, LAST_CALLS, Trimmed, without_activation
from cfx.classifiers.foreign.adapted import Adapted
from cfx.classifiers.foreign.outputs import output_tensor
from cfx.classifiers.foreign.preprocessing import Preprocessing
from cfx.classifiers.foreign.programs import open_program, open_script
from cfx.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")

INPUTS = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))


# The ends of classifiers: the activation and what follows it.


class Softmax(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits, dim=-1)


class Wide(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return F.softmax(logits, 1, dtype=torch.float64)


class OfMaps(nn.Module):
    """As a convolutional classifier ends: (N, K, 1, 1), made flat after the softmax."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits[:, :, None, None].softmax(1).flatten(1)


class LogOfSoftmax(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return logits.softmax(1).log()


class LogOfSigmoid(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return torch.log(torch.sigmoid(logits))


class CastSigmoid(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits).double().detach().clone().contiguous()


class OneColumn(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()[:, 0]


class Squeezed(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return F.logsigmoid(logits[:, :1]).squeeze(-1)


ENDS: dict[str, tuple[type[nn.Module] | Callable[[], nn.Module], str]] = {
    "nn.Softmax": (lambda: nn.Softmax(dim=1), "softmax"),
    "nn.LogSoftmax": (lambda: nn.LogSoftmax(dim=-1), "log-softmax"),
    "nn.Sigmoid": (nn.Sigmoid, "sigmoid"),
    "nn.LogSigmoid": (nn.LogSigmoid, "log-sigmoid"),
    "torch.softmax": (Softmax, "softmax"),
    "softmax in double": (Wide, "softmax"),
    "softmax, flatten": (OfMaps, "softmax"),
    "log of softmax": (LogOfSoftmax, "log-softmax"),
    "log of sigmoid": (LogOfSigmoid, "log-sigmoid"),
    "sigmoid, casts, detach": (CastSigmoid, "sigmoid"),
    "sigmoid, one column": (OneColumn, "sigmoid"),
    "logsigmoid, squeeze": (Squeezed, "log-sigmoid"),
}


class Several(nn.Module):
    """All of some ends, because exporting a program for each of them takes long."""

    def __init__(self, *ends: nn.Module) -> None:
        super().__init__()
        self.ends = nn.ModuleList(ends)

    def forward(self, logits: Tensor) -> list[Tensor]:
        return [end(logits) for end in self.ends]


# The structures of their outputs, and where the answer is.


class Bare(nn.Module):
    def forward(self, inputs: Tensor, answer: Tensor) -> Tensor:
        return answer


class Unchanged(nn.Module):
    def forward(self, inputs: Tensor, answer: list[Tensor]) -> list[Tensor]:
        return answer


class Pair(nn.Module):
    def forward(self, inputs: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
        return inputs, answer


class Listed(nn.Module):
    def forward(self, inputs: Tensor, answer: Tensor) -> list[Tensor]:
        return [answer, inputs, answer + 1]


class Named(nn.Module):
    def forward(self, inputs: Tensor, answer: Tensor) -> dict[str, Tensor]:
        return {"inputs": inputs, "answer": answer, "largest": answer.amax(-1)}


class Nested(nn.Module):
    def forward(self, inputs: Tensor, answer: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return inputs, {"answer": answer}


STRUCTURES: dict[type[nn.Module], Callable[[Any], Tensor]] = {
    Bare: lambda output: output,
    Pair: lambda output: output[1],
    Listed: lambda output: output[0],
    Named: lambda output: output["answer"],
    Nested: lambda output: output[1]["answer"],
}


class Net(nn.Module):
    """A small random classifier of 5 classes with batch norm, dropout, and a sigmoid within."""

    def __init__(self, end: nn.Module, structure: nn.Module | None = None, scale: float = 3.0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(64, 5)
        self.head.weight.data *= scale
        self.end = end
        self.structure = Bare() if structure is None else structure
        self.eval()

    def logits(self, inputs: Tensor) -> Tensor:
        hidden = self.norm(self.conv(inputs))
        return self.head(self.drop((hidden * torch.sigmoid(hidden)).flatten(1)))

    def forward(self, inputs: Tensor):  # without the type of its result, which TorchScript infers
        hidden = self.norm(self.conv(inputs))
        logits = self.head(self.drop((hidden * torch.sigmoid(hidden)).flatten(1)))
        return self.structure(inputs, self.end(logits))


# The forms in which cfx opens them.


def exported(model: nn.Module, folder: Path, dynamic: bool = True, decomposed: bool = False) -> nn.Module:
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},) if dynamic else None
    program = torch.export.export(model, (INPUTS,), dynamic_shapes=shapes)
    torch.export.save(program.run_decompositions() if decomposed else program, folder / "model.pt2")
    return open_program(folder / "model.pt2").model


def scripted(model: nn.Module, folder: Path, trace: bool = False) -> nn.Module:
    script = torch.jit.trace(model, INPUTS, strict=False) if trace else torch.jit.script(model)
    torch.jit.save(script, folder / "model.pt")
    return open_script(folder / "model.pt").model


FORMS: dict[str, Callable[[nn.Module, Path], nn.Module]] = {
    "module": lambda model, folder: model,
    "symbolic_trace": lambda model, folder: fx.symbolic_trace(model),
    "export": exported,
    "script": scripted,
    "trace": lambda model, folder: scripted(model, folder, trace=True),
}
MORE_FORMS = FORMS | {
    "export, fixed batch": lambda model, folder: exported(model, folder, dynamic=False),
    "export, decomposed": lambda model, folder: exported(model, folder, decomposed=True),
}
# Why a form loses an activation that the others keep.
NOT_FOUND = {
    ("export, decomposed", end): "the decomposition writes log-sigmoid as min(0, x) - log1p(exp(-|x|))"
    for end in ("nn.LogSigmoid", "logsigmoid, squeeze")
}


@pytest.fixture(scope="module", params=MORE_FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def every_end(form: str, tmp_path_factory: pytest.TempPathFactory) -> nn.Module | None:
    """A model in one form that returns a list of what all the ends compute; None for the forms that are made fast."""
    if form in ("module", "script"):
        return None
    net = Net(Several(*(make() for make, _ in ENDS.values())), Unchanged())
    return MORE_FORMS[form](net, tmp_path_factory.mktemp("form"))


def check(trimmed: Trimmed | None, model: nn.Module, activation: str, pick: Callable[[Any], Tensor], at: Tensor) -> Any:
    """The activation of the trimmed model's output is the model's output, and has a gradient; -> that output."""
    assert trimmed is not None and trimmed.activation == activation
    inputs = at.clone().requires_grad_()
    output, own = trimmed.model(inputs), pick(model(at.clone()))
    logits = pick(output)
    assert torch.allclose(ACTIVATIONS[activation](logits).to(own.dtype), own, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(logits.to(own.dtype), own, atol=1e-3)
    (gradient,) = torch.autograd.grad(logits.sum(), inputs)
    assert gradient.isfinite().all() and gradient.flatten(1).ne(0).any(1).all()
    return output


@pytest.mark.parametrize("end", ENDS)
def test_every_activation_in_every_form(form: str, every_end: nn.Module | None, end: str, tmp_path: Path) -> None:
    make, activation = ENDS[end]
    net, place = Net(make()), list(ENDS).index(end)
    model, pick = every_end, lambda output: output[place]
    if model is None:
        model, pick = MORE_FORMS[form](net, tmp_path), lambda output: output
    trimmed = without_activation(model, INPUTS, pick)
    if (form, end) in NOT_FOUND:
        assert trimmed is None, NOT_FOUND[form, end]
        return
    logits = pick(check(trimmed, model, activation, pick, INPUTS))
    if form != "module":  # a graph needs no record of each forward pass
        assert trimmed is not None and isinstance(trimmed.model, fx.GraphModule | torch.jit.ScriptModule)
    wanted = net.logits(INPUTS)[:, : logits[0].numel()]
    assert torch.allclose(logits.flatten().float(), wanted.flatten(), atol=1e-5)
    if "fixed" not in form:
        check(trimmed, model, activation, pick, INPUTS[:3])


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure.__name__)
@pytest.mark.parametrize("form", FORMS, indirect=True)
def test_every_structure_keeps_its_other_tensors(form: str, structure: type[nn.Module], tmp_path: Path) -> None:
    make, activation = ENDS["sigmoid, casts, detach"]
    net, pick = Net(make(), structure()), STRUCTURES[structure]
    model = FORMS[form](net, tmp_path)
    trimmed = without_activation(model, INPUTS, pick)
    output, own = check(trimmed, net, activation, pick, INPUTS), net(INPUTS)
    assert type(output) is type(own)
    if structure in (Pair, Nested):
        assert torch.equal(output[0], INPUTS)
    if structure is Listed:
        assert torch.equal(output[1], INPUTS) and torch.allclose(output[2], own[2])
    if structure is Named:
        assert list(output) == list(own) and torch.allclose(output["largest"], own["largest"])


@pytest.mark.parametrize("form", FORMS, indirect=True)
def test_an_output_that_is_not_the_result_of_an_activation_is_left_alone(form: str, tmp_path: Path) -> None:
    picks: dict[str, Callable[[Any], Tensor]] = {
        "an input": lambda output: output["inputs"],
        "computed from the activation": lambda output: output["largest"],
        "not in the output": lambda output: output["answer"] + 0,
    }
    model = FORMS[form](Net(nn.Softmax(1), Named()), tmp_path)
    for pick in picks.values():
        assert without_activation(model, INPUTS, pick) is None
    assert without_activation(FORMS[form](Net(nn.Identity()), tmp_path), INPUTS) is None


class Ends(nn.Module):
    """Computes its output from the logits by a function."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, logits: Tensor) -> Any:
        return self.function(logits)


UNSUITABLE: dict[str, Callable[[Tensor], Any]] = {
    "softmax over the images": lambda logits: logits.softmax(0),
    "softmax of 3 dimensions": lambda logits: logits[:, :, None].expand(-1, -1, 2).softmax(1),
    "softmax over pairs of classes": lambda logits: logits[:, :4].reshape(-1, 2, 2).softmax(2).flatten(1),
    "softmax of one class": lambda logits: logits[:, :1].softmax(1),
    "some columns of a softmax, which do not sum to 1": lambda logits: logits.softmax(1)[:, :3],
    "the negative of a log-softmax": lambda logits: -logits.log_softmax(1),
    "a softmax that is smoothed": lambda logits: 0.9 * logits.softmax(1) + 0.02,
    "a softmax that is clamped": lambda logits: logits.softmax(1).clamp(1e-7, 1),
    "log of the log": lambda logits: (logits.softmax(1) + 1).log().log(),
    "log of a log-softmax": lambda logits: logits.log_softmax(1).log(),
    "both classes from one sigmoid": lambda logits: torch.cat([1 - logits.sigmoid(), logits.sigmoid()], 1),
    "a sigmoid in place, which overwrites the logits": lambda logits: logits.sigmoid_(),
    "a result that is changed in place": lambda logits: logits.softmax(1).mul_(0.5),
    "logits that are changed in place afterwards": lambda logits: (logits.softmax(1), logits.zero_())[0],
    "a rounded softmax": lambda logits: logits.softmax(1).to(torch.int64),
}  # fmt: skip


def test_a_list_that_a_script_fills_is_left_alone(tmp_path: Path) -> None:
    model = scripted(Net(Several(nn.Softmax(1)), Unchanged()), tmp_path)  # nothing says what was appended where
    assert without_activation(model, INPUTS, lambda output: output[0]) is None


@pytest.mark.parametrize("why", UNSUITABLE)
def test_what_no_known_activation_explains_is_left_alone(why: str) -> None:
    assert without_activation(Net(Ends(UNSUITABLE[why])), INPUTS) is None


@pytest.mark.parametrize("form", ["export", "trace"], indirect=True)
def test_what_no_known_activation_explains_is_left_alone_in_graphs(form: str, tmp_path: Path) -> None:
    ends = [Ends(lambda logits, end=end: end(logits + 0)) for end in UNSUITABLE.values()]  # some change it in place
    model = FORMS[form](Net(Several(*ends), Unchanged()), tmp_path)
    for place, why in enumerate(UNSUITABLE):
        if why == "logits that are changed in place afterwards":
            continue  # torch removes this call, whose result is not used
        assert without_activation(model, INPUTS, lambda output, place=place: output[place]) is None, why


# What only modules that are not graphs do.


def test_the_model_stays_as_it_is() -> None:
    net = Net(nn.Softmax(1))
    seen: list[int] = []
    net.end.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    net.drop.train()
    net.drop.p = 0.0
    before, modes = copy.deepcopy(net.state_dict()), [module.training for module in net.modules()]
    trimmed = without_activation(net, INPUTS)
    assert trimmed is not None and trimmed.activation == "softmax" and not trimmed.model.training
    seen.clear()
    trimmed.model(INPUTS)
    assert seen == [4] and modes == [module.training for module in net.modules()]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.allclose(net(INPUTS).sum(1), torch.ones(4))


def test_a_hook_that_changes_the_result_is_respected() -> None:
    net = Net(nn.Softmax(1))
    net.end.register_forward_hook(lambda module, inputs, output: output * 0.5)
    assert without_activation(net, INPUTS) is None
    traced = fx.symbolic_trace(Net(nn.Softmax(1)))
    traced.get_submodule("end").register_forward_hook(lambda module, inputs, output: output * 0.5)
    assert without_activation(traced, INPUTS) is None


def test_other_outputs_are_replaced_only_if_they_are_the_same_tensor() -> None:
    net = Net(Ends(lambda logits: logits.softmax(1)), Ends2())
    trimmed = without_activation(net, INPUTS, lambda output: output[0])
    output = check(trimmed, net, "softmax", lambda output: output[0], INPUTS)
    assert output[0] is output[1] and torch.allclose(output[2].sum(1), torch.ones(4)) and output[3] is None


class Ends2(nn.Module):
    def forward(self, inputs: Tensor, answer: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        return answer, answer, answer.clone(), None


def test_an_output_of_an_unknown_type_is_left_alone() -> None:
    net = Net(Ends(lambda logits: SimpleNamespace(logits=logits.softmax(1))))
    assert without_activation(net, INPUTS, output_tensor) is None  # nothing says how to make another one


def test_an_activation_before_many_other_calls_is_left_alone() -> None:
    def heads(count: int) -> Net:
        return Net(Ends(lambda logits: (logits.softmax(1), [logits.sigmoid() for _ in range(count)])))

    assert without_activation(heads(LAST_CALLS - 1), INPUTS, lambda output: output[0]) is not None
    assert without_activation(heads(LAST_CALLS), INPUTS, lambda output: output[0]) is None


def test_a_random_model_is_left_alone() -> None:
    net = Net(nn.Softmax(1))
    net.drop.train()
    assert without_activation(net, INPUTS) is None


def test_another_activation_for_other_images_is_an_error() -> None:
    net = Net(Ends(lambda logits: logits.softmax(1) if len(logits) > 1 else logits.sigmoid()))
    trimmed = without_activation(net, INPUTS)
    assert trimmed is not None
    with pytest.raises(UsageError, match="is the result of softmax for some images and not for others"):
        trimmed.model(INPUTS[:1])


def test_errors_of_the_model_itself_are_not_hidden() -> None:
    with pytest.raises(RuntimeError):
        without_activation(Net(nn.Softmax(1)), INPUTS[:, :, :3])


def test_a_model_that_normalises_its_input_in_place() -> None:
    net = Net(nn.Softmax(1))
    trimmed = without_activation(nn.Sequential(Ends(lambda inputs: inputs.mul_(2)), net), INPUTS)
    assert trimmed is not None and torch.equal(trimmed.model(INPUTS.clone()), net.logits(INPUTS * 2))


@pytest.mark.parametrize("form", ["module", "export", "script"], indirect=True)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("end", ["nn.Softmax", "nn.LogSoftmax", "nn.Sigmoid", "log of softmax"])
def test_half_precision(form: str, dtype: torch.dtype, end: str, tmp_path: Path) -> None:
    make, activation = ENDS[end]
    net = Net(make()).to(dtype)
    inputs = INPUTS.to(dtype)
    if form == "export":
        model: Any = torch.export.export(net, (inputs,)).module()
    else:
        model = FORMS[form](net, tmp_path)
    trimmed = without_activation(model, inputs)
    assert trimmed is not None and trimmed.activation == activation
    assert torch.equal(trimmed.model(inputs), net.logits(inputs))


def test_logarithms_that_are_minus_infinity() -> None:
    for end in ("log of softmax", "log of sigmoid"):
        net = Net(ENDS[end][0](), scale=3000.0)
        assert net(INPUTS).isneginf().any()
        trimmed = without_activation(net, INPUTS)
        assert trimmed is not None and torch.equal(trimmed.model(INPUTS), net.logits(INPUTS))


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_onnx_converted_by_onnx2torch(operator: str, opset: int) -> None:
    pytest.importorskip("onnx2torch")
    onnx = pytest.importorskip("onnx")
    helper, weight = onnx.helper, torch.randn(5, 36)
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["logits"], transB=1),
        helper.make_node(operator, ["logits"], ["answer"]),
    ]
    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["N", 1, 6, 6])],
        [helper.make_tensor_value_info("answer", onnx.TensorProto.FLOAT, ["N", 5])],
        [onnx.numpy_helper.from_array(weight.numpy(), "weight")],
    )  # fmt: skip
    content = io.BytesIO(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString())
    model = pytest.importorskip("onnx2torch").convert(onnx.load(content)).eval()
    trimmed = without_activation(model, INPUTS)
    activation = {"Softmax": "softmax", "LogSoftmax": "log-softmax", "Sigmoid": "sigmoid"}[operator]
    logits = check(trimmed, model, activation, lambda output: output, INPUTS)
    assert torch.allclose(logits, INPUTS.flatten(1) @ weight.T, atol=1e-4)


# Why all this is done.


@pytest.mark.parametrize("form", ["module", "export", "script"], indirect=True)
def test_a_saturated_softmax_has_no_gradient_and_what_remains_has_one(
    form: str, digits: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Softmax(1)).eval()
    net[1].weight.data *= 3000
    images = digits[0][:50]
    if form == "export":
        model: nn.Module = torch.export.export(net, (images,)).module()  # type: ignore[assignment]
    else:
        model = FORMS[form](net, tmp_path)
    trimmed = without_activation(model, images)
    assert trimmed is not None

    def share_without_gradient(classifier: nn.Module, output: str) -> float:
        asked = images.clone().requires_grad_()
        logits = Adapted(classifier, Preprocessing(1, output=output))(asked)
        first, second = logits.topk(2, dim=1).indices.T
        rows = torch.arange(len(images))
        margin = logits[rows, first] - logits[rows, second]
        (gradient,) = torch.autograd.grad(margin.sum(), asked)
        return float(gradient.flatten(1).eq(0).all(1).float().mean())

    assert share_without_gradient(model, "probabilities") > 0.5
    assert share_without_gradient(trimmed.model, "logits") == 0
