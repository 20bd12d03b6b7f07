"""Features of a classifier: at its last layer with a height and a width, and in front of its last linear layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeGuard

import torch
from torch import Tensor, nn

from .graphs import linear_modules, linear_nodes, map_nodes
from .layers import Layer, Rows, Watch, layers_of

LEAST_SIDE = 3  # a layer with fewer rows or columns says too little about places


class SpatialFeatures:
    """Reads the output of the last layer of a classifier that has a height and a width.

    In a live network, layers are modules; in a program of torch.export, the operators on feature maps. Nothing of the
    classifier is changed after a call.

    Args:
        classifier: image batch -> logits (N, K).
        image: (1, C, H, W) in [0, 1], on which the layer is found.

    Attributes:
        layer: the module or the node of the graph, on which the logits depend; None if there is none: the classifier
            is a plain function or TorchScript, has no such layer, or no gradients.
    """

    def __init__(self, classifier: Callable[[Tensor], Tensor], image: Tensor) -> None:
        self.layer: Layer | None = None
        self._calls: Counter[Layer] = Counter()
        seen: list[tuple[Layer, Tensor]] = []

        def look(layer: Layer, _input: object, output: object) -> None:
            if is_spatial(output):
                self._calls[layer] += 1
                if output.requires_grad:
                    seen.append((layer, output))

        layers = layers_of(classifier, lambda module: not any(True for _ in module.children()), map_nodes)
        if not layers:
            return
        with torch.enable_grad():
            total = Watch(classifier, layers)(image.detach().clone().requires_grad_(), look).sum()
        if total.requires_grad and seen:
            gradients = torch.autograd.grad(total, [output for _, output in seen], allow_unused=True)
            on_the_way = [layer for (layer, _), each in zip(seen, gradients, strict=True) if each is not None]
            self.layer = on_the_way[-1] if on_the_way else None
        self._watch = Watch(classifier, [] if self.layer is None else [self.layer])

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (N, C, H, W) -> features (N, F, h, w) and the logits (N, K) as a function of them, for autograd."""
        assert self.layer is not None
        rows = Rows(len(images), self._calls[self.layer])
        leaf: list[Tensor] = []

        def keep(_layer: Layer, _input: object, output: object) -> Tensor | None:
            if not is_spatial(output) or not rows.is_last():
                return None
            begin = rows.done
            rows.add(output.detach())
            # Copies are returned, because the next layer may change its input in place.
            if not torch.is_grad_enabled():
                return output.clone()
            if not leaf:
                leaf.append(_leaf_for(output.detach(), rows.count))
            count = rows.done - begin
            if len(output) < rows.count:
                with torch.no_grad():
                    leaf[0][begin : rows.done] = output[:count]
            part = leaf[0][begin : rows.done]
            return part.clone() if count == len(output) else torch.cat([part, output[count:].detach()])

        logits = self._watch(images, keep)
        return leaf[0] if leaf else rows.joined(), logits


def _leaf_for(output: Tensor, count: int) -> Tensor:
    """Where the features of so many images go: they begin with the output (n, F, h, w) for the first n of them."""
    leaf = output[:count] if len(output) >= count else output.new_zeros(count, *output.shape[1:])
    return leaf.requires_grad_()


class PenultimateFeatures:
    """Reads the input of the last linear layer of a classifier.

    In a live network, these layers are `nn.Linear`; in a program of torch.export, the products with a matrix of
    weights. Nothing of the classifier is changed after a call.

    Args:
        classifier: image batch -> logits (N, K).
        image: (1, C, H, W) in [0, 1], on which the layer is found.

    Attributes:
        layer: the linear layer whose outputs are the logits, or the last one if none is; None if there is none.
    """

    def __init__(self, classifier: Callable[[Tensor], Tensor], image: Tensor) -> None:
        self.layer: Layer | None = None
        self._calls: Counter[Layer] = Counter()
        called: list[tuple[Layer, int]] = []

        def look(layer: Layer, inputs: object, output: object) -> None:
            if isinstance(inputs, Tensor) and isinstance(output, Tensor):
                self._calls[layer] += 1
                called.append((layer, output.shape[-1]))

        layers = layers_of(classifier, lambda module: isinstance(module, nn.Linear), linear_nodes, linear_modules)
        if not layers:
            return
        with torch.no_grad():
            classes = Watch(classifier, layers)(image, look).shape[1]
        last = [layer for layer, outputs in called if outputs == classes] or [layer for layer, _ in called]
        self.layer = last[-1] if last else None
        self._watch = Watch(classifier, last[-1:])

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (N, C, H, W) -> features (N, F) and logits (N, K), differentiable if images and classifier are.

        Some networks apply the layer to every position, and average its outputs; the features are then means, too.
        """
        assert self.layer is not None
        rows = Rows(len(images), self._calls[self.layer])

        def keep(_layer: Layer, inputs: object, _output: object) -> None:
            if isinstance(inputs, Tensor) and rows.is_last():
                rows.add(inputs.flatten(1, -2).mean(dim=1) if inputs.dim() > 2 else inputs)

        logits = self._watch(images, keep)
        return rows.joined(), logits


def is_spatial(output: object) -> TypeGuard[Tensor]:
    """Whether the output of a layer has several rows and columns for each image."""
    return isinstance(output, Tensor) and output.dim() == 4 and min(output.shape[2:]) >= LEAST_SIDE
