"""Reads the graphs of programs of torch.export: which of their nodes are layers, and what these compute."""

from __future__ import annotations

from collections.abc import Callable, Collection
from copy import deepcopy
from types import MethodType
from typing import Any

from torch import Tensor, fx, nn

# Names of torch's operators, as `torch.export` writes them, decomposed (`run_decompositions`) or not.
# Of linear layers: position of the input; the weights are the next argument.
LINEAR = {"linear": 0, "addmm": 1, "mm": 0, "matmul": 0, "bmm": 0}
CONVOLUTIONS = frozenset(("conv2d", "convolution", "_convolution", "conv_transpose2d"))
# Operators after which the last two dimensions of a tensor need not be the height and the width of the image.
MIXING = frozenset(
    ("view", "_unsafe_view", "reshape", "flatten", "unflatten", "transpose", "movedim", "t", "squeeze", "unsqueeze",
     "select", "unbind", "stack", "expand", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum",
     "scaled_dot_product_attention")
)  # fmt: skip
FIRST, LAST = "channels first", "channels last"  # (N, F, h, w) and (N, h, w, F)
PERMUTATIONS: dict[tuple[str, tuple[int, ...]], str] = {(FIRST, (0, 2, 3, 1)): LAST, (LAST, (0, 3, 1, 2)): FIRST}


Show = Callable[[int, object, object, object], object]
"""the position of a node, its program's input, the node's input and its output -> what is used as its output"""


def is_program(module: fx.GraphModule) -> bool:
    """Whether a graph is a program of torch.export: of operators rather than of modules."""
    return any(hasattr(node.target, "_opname") for node in module.graph.nodes)


def linear_nodes(graph: fx.Graph) -> list[fx.Node]:
    """The nodes that multiply by a matrix of weights. Products of two tensors computed from the image are none."""
    return [
        node
        for node in graph.nodes
        if (place := LINEAR.get(name_of(node))) is not None
        and len(node.args) > place + 1
        and is_constant(node.args[place + 1])
        and not is_constant(node.args[place])
    ]


def linear_modules(graph: fx.GraphModule) -> list[nn.Module]:
    """The modules in a graph of onnx2torch that multiply by weights: linear layers as some exporters write them."""
    return [
        module
        for node in graph.graph.nodes
        if node.op == "call_module"
        and type(module := graph.get_submodule(str(node.target))).__name__ == "OnnxMatMul"
        and is_constant(node.args[1])
    ]


def convolution_nodes(graph: fx.Graph) -> list[fx.Node]:
    """The nodes that are convolutions."""
    return [node for node in graph.nodes if name_of(node) in CONVOLUTIONS]


def map_nodes(graph: fx.Graph) -> list[fx.Node]:
    """The nodes that compute feature maps (N, F, h, w): convolutions, and what is computed from them place by place.

    Other outputs may have four dimensions, too, such as the queries and keys of a transformer. Maps that are made of
    tokens again are found where their layout can be followed; else these maps are missing.
    """
    layouts: dict[fx.Node, str] = {}
    for node in graph.nodes:
        name = name_of(node)
        sources = [layouts[source] for source in node.all_input_nodes if source in layouts]
        if name in CONVOLUTIONS:
            layouts[node] = FIRST
        elif name == "permute" and sources:
            order = tuple(node.args[1]) if len(node.args) > 1 else ()
            if (sources[0], order) in PERMUTATIONS:
                layouts[node] = PERMUTATIONS[sources[0], order]
        elif name not in MIXING and sources:
            layouts[node] = sources[0]
    return [node for node, layout in layouts.items() if layout == FIRST]


def name_of(node: fx.Node) -> str:
    """The name of a node's operator; empty if it is none."""
    if node.op != "call_function":
        return ""
    return str(getattr(node.target, "_opname", None) or getattr(node.target, "__name__", ""))


def is_constant(value: Any) -> bool:
    """Whether an argument is a tensor that does not depend on the program's input: weights, or computed from some."""
    if not isinstance(value, fx.Node):
        return False
    waiting, seen = [value], {value}
    while waiting:
        node = waiting.pop()
        if node.op == "placeholder":
            return False
        # Decomposed programs repeat the weights for each image; then their shape depends on the input, and no value.
        new = [source for source in node.all_input_nodes if source not in seen and name_of(source) != "sym_size"]
        waiting.extend(new)
        seen.update(new)
    return True


def with_shown(program: fx.GraphModule, nodes: Collection[fx.Node], show: Show) -> Callable[[Tensor], Any]:
    """The program's `forward`, compiled from a copy of its graph in which some nodes show what they compute.

    Args:
        program: is not changed; its own weights are used.
        nodes: of its graph.
        show: see `Show`; positions are those in `nodes`.
    """
    graph = deepcopy(program.graph)
    copies = dict(zip(program.graph.nodes, graph.nodes, strict=True))
    inputs = next(node for node in graph.nodes if node.op == "placeholder")
    for position, original in enumerate(nodes):
        node, place = copies[original], LINEAR.get(name_of(original), 0)
        value = node.args[place] if len(node.args) > place else None
        with graph.inserting_after(node):
            shown = graph.call_function(show, (position, inputs, value, node))
        node.replace_all_uses_with(shown, delete_user_cb=lambda user, shown=shown: user is not shown)
    # Only the code is taken from this module: buffers of its own would stay behind if the program is moved.
    return MethodType(type(fx.GraphModule(program, graph)).forward, program)
