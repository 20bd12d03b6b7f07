"""Removes the last softmax or sigmoid of a classifier, so that cfx searches on the logits in front of it.

In float32, the softmax of a confident classifier is exactly 1 and 0 and its gradient is exactly zero, although the
logits still have one. A search through the probabilities then fails, which looks like robustness.

| model | how its last activation is removed | what it costs |
|---|---|---|
| a graph: a program of torch.export, ONNX converted by onnx2torch, torch.fx | in a copy of the graph | nothing |
| TorchScript | in the graph of a copy of the model | a second copy of the weights |
| any other module | each forward pass records the last calls of an activation | one Python call for each function |
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import log
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ...errors import UsageError
from .activation_graphs import from_graph, from_script
from .activation_steps import ACTIVATIONS, KNOWN, Step, Trimmed, walk

__all__ = ["ACTIVATIONS", "Trimmed", "without_activation"]

LAST_CALLS = 16  # of a forward pass that are recorded; more would keep more tensors in memory


def without_activation(
    model: nn.Module, inputs: Tensor, pick: Callable[[Any], Tensor] = lambda output: output
) -> Trimmed | None:
    """Removes the last softmax, log-softmax, sigmoid or log-sigmoid of a model, if its output is the result of one.

    Casts, `detach`, `clone` and changes of shape may follow the activation; so may `log`. The result is compared with
    the model on `inputs`: the activation of its output must be the model's own output.

    Args:
        model: the model, which is not changed. The result shares its weights, unless it is TorchScript.
        inputs: (N, ...) sample of the model's input, on its device. A model with a fixed batch size needs that N.
        pick: the model's output -> the tensor that is the classifier's answer: the output itself, or one of the
            tensors in its tuples, lists and dicts.

    Returns:
        The model without the activation; None if the picked tensor is not the result of one, is softmax over another
        dimension than the classes, or is computed in a way that cannot be followed.
    """
    with torch.no_grad():
        output = model(inputs.clone())  # a copy, because a model may normalise its input in place
        own = pick(output)
    if not isinstance(own, Tensor) or not own.is_floating_point():
        return None
    leaves = pytree.tree_leaves(output)
    place = next((place for place, leaf in enumerate(leaves) if leaf is own), None)
    if place is None:
        return None
    ways: list[Callable[[], Trimmed | None]] = []
    if isinstance(model, fx.GraphModule):
        ways.append(lambda: from_graph(model, place))
    if isinstance(model, torch.jit.ScriptModule):
        ways.append(lambda: from_script(model, place, inputs.device))
    else:
        ways.append(lambda: _from_calls(model, inputs, pick))
    for way in ways:
        try:
            trimmed = way()
            if trimmed is not None:
                with torch.no_grad():
                    logits = pick(trimmed.model(inputs.clone()))
                if _is_result(own, logits, trimmed.activation):
                    return trimmed
        except Exception:  # torch and the model's own code may fail in any way; then the model is used as it is
            continue
    return None


def _is_result(own: Tensor, logits: Tensor, activation: str) -> bool:
    """Whether `own` is the activation of the logits, to the precision of the less precise of the two."""
    softmax = activation.endswith("softmax")
    if own.shape != logits.shape or (softmax and (own.dim() != 2 or own.shape[1] < 2)):
        return False
    again = ACTIVATIONS[activation](logits.double()).to(own.device)
    own_values = own.double()
    if activation.startswith("log"):  # log(softmax(...)) has no precision below the least normal number
        least = log(max(torch.finfo(own.dtype).tiny, torch.finfo(logits.dtype).tiny))
        own_values, again = own_values.clamp_min(least), again.clamp_min(least)
    half = min(own.element_size(), logits.element_size()) < 4
    tolerance = 2e-2 if half else 1e-3  # generous, since no unknown operator is passed over; it detects a wrong dim
    return bool(torch.allclose(own_values, again, rtol=tolerance, atol=tolerance))


# Any other module: its calls of torch's functions are recorded.


class Call(NamedTuple):
    """A call of one of torch's functions.

    Attributes:
        name: of the function, as in `KNOWN`.
        source: its input, the first argument.
        function: the function with its other arguments: another input -> the result.
        result: what it returned.
    """

    name: str
    source: Any
    function: Callable[[Any], Any]
    result: Any


class LastCalls(TorchFunctionMode):
    """Records the last calls of the functions in `KNOWN`, in `calls`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: deque[Call] = deque(maxlen=LAST_CALLS)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "").partition(".")[0]  # operators are named with their overload: "softmax.int"
        if name in KNOWN:
            if args:
                self.calls.append(Call(name, args[0], lambda value: func(value, *args[1:], **kwargs), result))
            elif "input" in kwargs:
                self.calls.append(Call(name, kwargs["input"], lambda value: func(**{**kwargs, "input": value}), result))
        return result

    def step_before(self, value: Any) -> Step | None:
        """The last call that returned `value`; this call and those after it are removed from the record."""
        while self.calls:
            call = self.calls.pop()
            if call.result is value:
                return Step(call.name, call.source, call.function)
        return None


class WithoutActivation(nn.Module):
    """A model whose picked output is replaced, after each forward pass, by the tensor in front of its activation.

    Args:
        model: the model; it is used as it is.
        pick: the model's output -> the tensor to replace.
        activation: the activation of that tensor.
    """

    def __init__(self, model: nn.Module, pick: Callable[[Any], Tensor], activation: str) -> None:
        super().__init__()
        self.model = model
        self.training = model.training
        self.pick = pick
        self.activation = activation

    def forward(self, inputs: Tensor) -> Any:
        """inputs (N, ...) -> the model's output, with the picked tensor replaced.

        Raises:
            UsageError: the picked tensor is not the result of the activation.
        """
        with LastCalls() as record:
            output = self.model(inputs)
        own = self.pick(output)
        found = walk(own, record.step_before)
        if found is None or found[0] != self.activation:
            raise UsageError(
                f"the classifier's output is the result of {self.activation} for some images and not for others; "
                "let it return its logits"
            )
        _, logits, functions = found
        for function in functions:
            logits = function(logits)
        return pytree.tree_map(lambda leaf: logits if leaf is own else leaf, output)


def _from_calls(model: nn.Module, inputs: Tensor, pick: Callable[[Any], Tensor]) -> Trimmed | None:
    """The model without the activation of its picked output, if a call of the activation can be recorded."""
    with torch.no_grad(), LastCalls() as record:
        own = pick(model(inputs.clone()))
    found = walk(own, record.step_before)
    return None if found is None else Trimmed(WithoutActivation(model, pick, found[0]), found[0])
