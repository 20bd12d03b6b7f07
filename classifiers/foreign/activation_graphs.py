"""Removes the last activation of a graph: of torch.fx, torch.export and onnx2torch, or of TorchScript."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import fx
from torch.utils import _pytree as pytree

from .activation_steps import Step, Trimmed, walk

# Graphs of torch.fx, which torch.export and onnx2torch use as well.


def from_graph(model: fx.GraphModule, place: int) -> Trimmed | None:
    """The model without the activation of the output at a place in the flattened structure that it returns."""
    graph = deepcopy(model.graph)
    output = next(node for node in reversed(graph.nodes) if node.op == "output")
    values, structure = pytree.tree_flatten(output.args[0])
    last = values[place]
    found = walk(last, lambda node: _step_of_node(model, node))
    if found is None:
        return None
    activation, logits, operators = found
    with graph.inserting_before(output):
        for operator in operators:
            before, source = logits, operator.args[0]
            logits = graph.node_copy(operator, lambda node, a=source, b=before: b if node is a else node)
    output.args = (pytree.tree_unflatten([logits if value is last else value for value in values], structure),)
    while isinstance(last, fx.Node) and not last.users and last.op.startswith("call"):
        unused, last = last, last.args[0] if last.args else None
        graph.erase_node(unused)
    # Without the hooks of a program of torch.export, which check the shape of its input and need its other attributes.
    return Trimmed(fx.GraphModule(model, graph), activation)


def _step_of_node(model: fx.GraphModule, node: Any) -> Step | None:
    if not isinstance(node, fx.Node) or not node.op.startswith("call") or not node.args:
        return None
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        # A hook may change the module's output.
        name = type(module).__name__ if type(module).__module__.startswith("torch.nn") else ""
        name = "" if module._forward_hooks or module._forward_pre_hooks else name
    elif node.op == "call_method":
        name = str(node.target)
    else:
        name = getattr(node.target, "_opname", None) or getattr(node.target, "__name__", "")
    source: Any = node.args[0]
    if name == "getitem" and "log_sigmoid_forward" in str(getattr(source, "target", "")):
        return _step_of_node(model, source)  # the first of the operator's two results
    return Step(name, source, node)


# TorchScript.


def from_script(model: torch.jit.ScriptModule, place: int, device: torch.device) -> Trimmed | None:
    """The same for TorchScript."""
    content = io.BytesIO()
    with warnings.catch_warnings():  # torch announces the end of TorchScript
        warnings.simplefilter("ignore")
        torch.jit.save(model, content)
        content.seek(0)
        copied: Any = torch.jit.load(content, map_location=device)
    graph: Any = copied.graph  # not a copy: what is changed here is run, because the model was not run before
    passes: Any = torch._C
    passes._jit_pass_inline(graph)
    passes._jit_pass_constant_propagation(graph)  # removes the branches of torch's Python functions
    passes._jit_pass_peephole(graph)
    uses = list(_uses(graph.return_node()))
    last = uses[place].value
    found = walk(last, _step_of_value)
    if found is None:
        return None
    activation, logits, operators = found
    earlier = last.node()
    for operator in operators:
        source, before = operator.inputsAt(0).debugName(), logits
        copy = graph.createClone(operator, lambda value, a=source, b=before: b if value.debugName() == a else value)
        copy.insertAfter(earlier)
        earlier, logits = copy, copy.output()
    for use in uses:
        if use.value.debugName() == last.debugName():
            use.user.replaceInput(use.place, logits)
    passes._jit_pass_dce(graph)
    return Trimmed(copied, activation)


class Use(NamedTuple):
    """A value of a TorchScript graph that is the input of a node, at a place."""

    user: Any
    place: int
    value: Any


def _uses(node: Any) -> Iterator[Use]:
    """The uses of the values that a return node returns, in the order of the leaves of what it returns."""
    for place, packed in enumerate(node.inputs()):
        value = _unpacked(packed)
        kind = value.node().kind()
        if node.kind() == "prim::DictConstruct" and place % 2 == 0:
            continue  # a key
        if kind in ("prim::TupleConstruct", "prim::ListConstruct", "prim::DictConstruct"):
            yield from _uses(value.node())
        else:
            yield Use(node, place, value)


def _unpacked(value: Any) -> Any:
    """The value itself, where it is put into a tuple and taken out again, as between traced modules."""
    node = value.node()
    if node.kind() == "prim::TupleUnpack" and node.inputsAt(0).node().kind() == "prim::TupleConstruct":
        return _unpacked(node.inputsAt(0).node().inputsAt(value.offset()))
    return value


def _step_of_value(value: Any) -> Step | None:
    node = _unpacked(value).node()
    namespace, _, name = node.kind().partition("::")
    return Step(name, node.inputsAt(0), node) if namespace == "aten" and node.inputsSize() else None
