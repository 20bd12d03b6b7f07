"""Features of a classifier: at its last layer with a height and a width, and in front of its last linear layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeGuard

import torch
from torch import Tensor, nn

LEAST_SIDE = 3  # a layer with fewer rows or columns says too little about places


class SpatialFeatures:
    """Reads the output of the last convolutional layer of a classifier, with a hook that is removed after each call.

    Args:
        classifier: image batch -> logits (N, K).
        image: (1, C, H, W) in [0, 1], on which the layer is found.

    Attributes:
        layer: the module, on which the logits depend; None if there is none: the classifier is a plain function,
            TorchScript or a program without modules, or has no gradients.
    """

    def __init__(self, classifier: Callable[[Tensor], Tensor], image: Tensor) -> None:
        self.classifier = classifier
        self.layer: nn.Module | None = None
        if not isinstance(classifier, nn.Module):
            return
        seen: list[tuple[nn.Module, Tensor]] = []

        def look(module: nn.Module, _inputs: object, output: object) -> None:
            if is_spatial(output) and output.requires_grad:
                seen.append((module, output))

        leaves = [module for module in classifier.modules() if not any(True for _ in module.children())]
        handles = [
            leaf.register_forward_hook(look) for leaf in leaves if not isinstance(leaf, torch.jit.ScriptModule)
        ]  # fmt: skip
        try:
            with torch.enable_grad():
                total = classifier(image.detach().clone().requires_grad_()).sum()
        finally:
            for handle in handles:
                handle.remove()
        if total.requires_grad and seen:
            gradients = torch.autograd.grad(total, [output for _, output in seen], allow_unused=True)
            on_the_way = [module for (module, _), each in zip(seen, gradients, strict=True) if each is not None]
            self.layer = on_the_way[-1] if on_the_way else None

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (N, C, H, W) -> features (N, F, h, w) and the logits (N, K) as a function of them, for autograd."""
        assert self.layer is not None
        kept: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor | None:
            if not is_spatial(output):
                return None
            if not torch.is_grad_enabled():
                kept.append(output)
                return None
            kept.append(output.detach().requires_grad_())
            return kept[-1].clone()  # a copy, because the next layer may change its input in place

        handle = self.layer.register_forward_hook(keep)
        try:
            logits = self.classifier(images)
        finally:
            handle.remove()
        return kept[-1], logits


class PenultimateFeatures:
    """Reads the input of the last linear layer of a classifier, with a hook that is removed after each call.

    Args:
        classifier: image batch -> logits (N, K).
        image: (1, C, H, W) in [0, 1], on which the layer is found.

    Attributes:
        layer: the linear layer whose outputs are the logits, or the last one if none is; None if there is none.
    """

    def __init__(self, classifier: Callable[[Tensor], Tensor], image: Tensor) -> None:
        self.classifier = classifier
        self.layer: nn.Linear | None = None
        if not isinstance(classifier, nn.Module):
            return
        called: list[nn.Module] = []
        linear = [module for module in classifier.modules() if isinstance(module, nn.Linear)]
        handles = [module.register_forward_hook(lambda each, *_: called.append(each)) for module in linear]
        try:
            with torch.no_grad():
                classes = classifier(image).shape[1]
        finally:
            for handle in handles:
                handle.remove()
        found = [module for module in called if isinstance(module, nn.Linear)]
        last = [module for module in found if module.out_features == classes] or found
        self.layer = last[-1] if last else None

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (N, C, H, W) -> features (N, F) and logits (N, K), differentiable if images and classifier are."""
        assert self.layer is not None
        kept: list[Tensor] = []
        handle = self.layer.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
        try:
            logits = self.classifier(images)
        finally:
            handle.remove()
        found = kept[-1]  # (N, ..., F): some networks apply the layer to every position, and average its outputs
        return found.flatten(1, -2).mean(dim=1) if found.dim() > 2 else found, logits


def is_spatial(output: object) -> TypeGuard[Tensor]:
    """Whether the output of a layer has several rows and columns for each image."""
    return isinstance(output, Tensor) and output.dim() == 4 and min(output.shape[2:]) >= LEAST_SIDE
