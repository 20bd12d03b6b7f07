"""Finds the last softmax or sigmoid among the operators that compute a model's output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(dim=1),
    "log-softmax": lambda logits: logits.log_softmax(dim=1),
    "sigmoid": torch.sigmoid,
    "log-sigmoid": F.logsigmoid,
}
LOGARITHMS = {"softmax": "log-softmax", "sigmoid": "log-sigmoid"}

# Names of torch's operators, in its Python API, in graphs of torch.export and in TorchScript -> the activation.
ACTIVATION_OF = {
    **dict.fromkeys(("softmax", "_softmax", "special_softmax", "Softmax"), "softmax"),
    **dict.fromkeys(("log_softmax", "_log_softmax", "special_log_softmax", "LogSoftmax"), "log-softmax"),
    **dict.fromkeys(("sigmoid", "special_expit", "Sigmoid"), "sigmoid"),
    **dict.fromkeys(("log_sigmoid", "log_sigmoid_forward", "LogSigmoid"), "log-sigmoid"),
}
# Operators that may follow the activation. Those that change no value are left out: without a cast, no precision is
# lost, and without `detach`, the logits have a gradient. Those that change the shape are applied to the logits.
SAME_VALUES = frozenset(
    ("to", "_to_copy", "float", "double", "half", "cpu", "cuda", "detach", "clone", "contiguous", "alias", "Identity")
)
SAME_NUMBER = frozenset(("squeeze", "unsqueeze", "flatten", "view", "reshape", "_unsafe_view", "Flatten"))
FEWER = frozenset(("select", "slice", "__getitem__", "getitem"))  # only after a sigmoid, which treats each value alone
KNOWN = {*ACTIVATION_OF, "log", *SAME_VALUES, *SAME_NUMBER, *FEWER}


@dataclass(frozen=True)
class Trimmed:
    """A model without its last activation.

    Attributes:
        model: takes the same input and returns the same structure, with the tensor in front of the activation in the
            place of the activation's output. It may have another floating-point type and lie on another device than
            that output, because a cast after the activation is removed, too. It is in the same mode (train or eval).
        activation: what was removed: "softmax" or "log-softmax" over dimension 1, "sigmoid" or "log-sigmoid".
    """

    model: nn.Module
    activation: str


class Step(NamedTuple):
    """One operator between a model's input and its output.

    Attributes:
        name: of the operator, as in `KNOWN`.
        source: its first input, a value of the graph or a tensor.
        operator: the node of the graph, or the recorded call.
    """

    name: str
    source: Any
    operator: Any


def walk(value: Any, step_before: Callable[[Any], Step | None]) -> tuple[str, Any, list[Any]] | None:
    """Walks back from an output to the activation that computes it.

    Args:
        value: the output.
        step_before: value -> the operator that computes it, or None if that is not known.

    Returns:
        The activation, the value in front of it, and the operators to apply to that value, in this order; or None.
    """
    operators: list[Any] = []
    logarithm = fewer = False
    while (step := step_before(value)) is not None:
        value = step.source
        if step.name in ACTIVATION_OF:
            found = ACTIVATION_OF[step.name]
            activation = LOGARITHMS.get(found) if logarithm else found
            if activation is None or (fewer and found.endswith("softmax")):
                return None
            return activation, value, operators[::-1]
        if step.name == "log" and not logarithm:
            logarithm = True
        elif step.name in SAME_NUMBER or step.name in FEWER:
            fewer = fewer or step.name in FEWER
            operators.append(step.operator)
        elif step.name not in SAME_VALUES:
            return None
    return None
