"""Layers of a classifier: modules of a live network and nodes of a program of torch.export, seen while it runs.

| form of the classifier | its layers |
|---|---|
| a live network, ONNX converted by onnx2torch | its modules, seen by hooks |
| a program of torch.export (`.pt2`) | the nodes of its graph, seen in a copy of it |
| TorchScript, a plain function, ONNX run by onnxruntime | none |

The classifier may contain others in any depth, as adapters do, and may take a batch in several smaller ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

from .graphs import Show, is_program, with_shown

Layer: TypeAlias = nn.Module | fx.Node
"""a module of a network, or a node of the graph of a program"""

Look = Callable[[Layer, object, object], Tensor | None]
"""a layer, its first input (None if it is given by name) and its output -> another output in its place, or None"""


def layers_of(
    classifier: Callable[[Tensor], Tensor],
    is_wanted: Callable[[nn.Module], bool],
    nodes_of: Callable[[fx.Graph], Iterable[fx.Node]],
    modules_of: Callable[[fx.GraphModule], Iterable[nn.Module]] = lambda _: (),
) -> list[Layer]:
    """The layers of a kind, in no particular order.

    Args:
        classifier: image batch -> logits (N, K).
        is_wanted: whether a module of a live network is of that kind.
        nodes_of: the nodes of that kind in the graph of a program.
        modules_of: the modules of that kind in a graph of modules which only the graph tells from others.
    """
    found: list[Layer] = []
    for module in _open_modules(classifier):
        if isinstance(module, fx.GraphModule) and is_program(module):
            found.extend(nodes_of(module.graph))
            continue
        if isinstance(module, fx.GraphModule):
            found.extend(modules_of(module))
        if is_wanted(module):
            found.append(module)
    return found


def shows_layers(classifier: Callable[[Tensor], Tensor]) -> bool:
    """Whether the classifier shows the layers that it consists of: it has weights, which are not in TorchScript."""
    return any(True for module in _open_modules(classifier) for _ in module.parameters(recurse=False))


def _open_modules(classifier: Callable[[Tensor], Tensor]) -> list[nn.Module]:
    if not isinstance(classifier, nn.Module):
        return []
    return [module for module in classifier.modules() if not isinstance(module, torch.jit.ScriptModule)]


class Watch:
    """Shows what some layers compute while the classifier runs, and leaves the classifier as it was.

    Args:
        classifier: image batch -> logits (N, K).
        layers: of the classifier.
    """

    def __init__(self, classifier: Callable[[Tensor], Tensor], layers: Iterable[Layer]) -> None:
        self._classifier = classifier
        self._look: Look | None = None
        layers = list(layers)
        self._modules = [layer for layer in layers if isinstance(layer, nn.Module)]
        self._programs: list[tuple[fx.GraphModule, Callable[[Tensor], Any]]] = []
        for module in _open_modules(classifier):
            if isinstance(module, fx.GraphModule):
                nodes = [layer for layer in layers if isinstance(layer, fx.Node) and layer.graph is module.graph]
                if nodes:
                    self._programs.append((module, with_shown(module, nodes, self._shower(nodes))))

    def __call__(self, images: Tensor, look: Look) -> Tensor:
        """The classifier's logits (N, K) of images (N, C, H, W); `look` sees each evaluation of the layers."""

        own = get_ident()

        def hook(module: nn.Module, inputs: tuple[object, ...], output: object) -> Tensor | None:
            if get_ident() != own:  # another thread calls the same model
                return None
            return look(module, inputs[0] if inputs else None, output)

        before = self._look
        with ExitStack() as undo:
            undo.callback(setattr, self, "_look", before)
            self._look = look
            for module in self._modules:
                undo.callback(module.register_forward_hook(hook).remove)
            for program, forward in self._programs:
                undo.enter_context(_running(program, forward))
            return self._classifier(images)

    def _shower(self, nodes: Sequence[fx.Node]) -> Show:
        def show(position: int, images: object, value: object, output: object) -> object:
            assert self._look is not None
            found = self._look(nodes[position], unfolded(value, images), output)
            return output if found is None else found

        return show


def unfolded(value: object, images: object) -> object:
    """The input (N, ..., F) of a linear layer, of which decomposed programs make a matrix (N * ..., F).

    Args:
        value: the input of a node.
        images: (N, ...) the input of its program.
    """
    if not (isinstance(value, Tensor) and isinstance(images, Tensor)) or value.dim() != 2 or not images.dim():
        return value
    count = len(images)
    return value.unflatten(0, (count, -1)) if 0 < count < len(value) and len(value) % count == 0 else value


@contextmanager
def _running(program: fx.GraphModule, forward: Callable[[Tensor], Any]) -> Iterator[None]:
    """The program runs another `forward`; its hooks go on as before."""
    own = vars(program)
    before = own.get("forward")
    own["forward"] = forward
    try:
        yield
    finally:
        del own["forward"]
        if before is not None:
            own["forward"] = before


@dataclass
class Rows:
    """What one layer gives for the images of a batch, however many the classifier takes at once.

    Some classifiers take batches of one size only: they are called several times, and the last batch is padded. A layer
    may also be evaluated several times for each image; then the last time counts.

    Attributes:
        count: number of images N.
        calls: how often the layer is evaluated in one pass.
        done: number of images that the classifier has taken.
        parts: (n, ...) of these images.
    """

    count: int
    calls: int = 1
    done: int = 0
    parts: list[Tensor] = field(default_factory=list)
    _seen: int = 0

    def is_last(self) -> bool:
        """To be asked once at each evaluation of the layer: whether it is the last one of a pass."""
        self._seen += 1
        return self._seen % self.calls == 0

    def add(self, values: Tensor) -> None:
        """Adds the values (n, ...) of a pass; those of padding are left out."""
        own = min(len(values), self.count - self.done)
        self.parts.append(values if own == len(values) else values[:own])
        self.done += own

    def joined(self) -> Tensor:
        """The values (N, ...) of all images."""
        return self.parts[0] if len(self.parts) == 1 else torch.cat(self.parts)
