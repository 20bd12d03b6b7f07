"""MC dropout with fixed masks: networks made of one classifier, whose disagreement is its epistemic uncertainty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

LARGE = 2**18  # values; larger batches use activation checkpointing: less memory, 25 % slower
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class DropoutNetworks:
    """The classifier with a fixed set of units left out, for each of several random sets: logits (M, N, K) of images.

    Every image meets the same sets at every call, so that a search descends one function, and what is found for an
    image does not depend on who else is in the batch.

    Sources: Gal and Ghahramani 2016, Dropout as a Bayesian Approximation, arXiv 1506.02142, section 4; fixed sets:
    Kirsch et al. 2019, BatchBALD, arXiv 1906.08158, section 3.2, "consistent MC dropout".

    Args:
        classifier: image batch -> logits (N, K), in eval mode; left as it is.
        count: number of networks M.
        image: (1, C, H, W), any image that the classifier takes.
        seed: of the sets.

    Attributes:
        layers: the dropout layers through which the image goes; none in a plain function or a program.
    """

    def __init__(self, classifier: Callable[[Tensor], Tensor], count: int, image: Tensor, seed: int = 0) -> None:
        self.classifier = classifier
        self.count = count
        self.seed = seed
        self._batch_dims = batch_dims(classifier, image)
        self.layers = [*self._batch_dims]

    def __call__(self, images: Tensor) -> Tensor:
        networks = range(self.count)
        if images.numel() < LARGE:
            return torch.stack([self._classify(images, each) for each in networks])
        # Only one network's activations are kept at a time; they are computed again for the gradient.
        return torch.stack([checkpoint(self._classify, images, each, use_reentrant=False) for each in networks])

    def _classify(self, images: Tensor, number: int) -> Tensor:
        calls: Counter[nn.Module] = Counter()

        def drop(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            assert isinstance(module, DROPOUTS)
            dims = self._batch_dims[module]
            call = calls[module] % len(dims)
            calls[module] += 1
            # The same units are dropped in every pass: a batch may be split into several.
            seed = (self.seed * 1_000_003 + number) * 1_009 + self.layers.index(module) + 500_009 * call
            random = torch.Generator().manual_seed(seed % 2**63)
            units = list(output.shape)
            units[dims[call]] = 1  # the same for all images
            if not isinstance(module, nn.Dropout):  # whole feature maps
                units[2:] = [1] * len(units[2:])
            kept = torch.bernoulli(torch.full(units, 1 - module.p, device="cpu"), generator=random).to(output)
            return output * (kept / (1 - module.p))

        handles = [layer.register_forward_hook(drop) for layer in self.layers]
        try:
            return self.classifier(images)
        finally:
            for handle in handles:
                handle.remove()


@torch.no_grad()
def batch_dims(classifier: Callable[[Tensor], Tensor], image: Tensor) -> dict[nn.Module, list[int]]:
    """The dropout layers through which an image goes, and for each of their calls, the dimension of the batch.

    It is usually the first. In networks that put sequences first, it is the second.

    Args:
        classifier: image batch -> logits (N, K).
        image: (1, C, H, W).
    """
    if not isinstance(classifier, nn.Module):
        return {}
    single, pair = (_shapes(classifier, torch.cat([image] * count)) for count in (1, 2))
    return {
        layer: [batch_dim(one, two) for one, two in zip(shapes, pair[layer], strict=False)]
        for layer, shapes in single.items()
        if layer in pair
    }


def batch_dim(single: torch.Size, pair: torch.Size) -> int:
    """The batch dimension of an output, by its shape for one image and for two."""
    grown = [dim for dim, (one, two) in enumerate(zip(single, pair, strict=False)) if one != two]
    return grown[0] if grown else 0  # none: the classifier takes batches of one size


def _shapes(classifier: nn.Module, images: Tensor) -> dict[nn.Module, list[torch.Size]]:
    """The shapes of what dropout layers give for these images, call by call."""
    shapes: dict[nn.Module, list[torch.Size]] = {}

    def look(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        shapes.setdefault(layer, []).append(output.shape)

    handles = [
        layer.register_forward_hook(look)
        for layer in classifier.modules()
        if isinstance(layer, DROPOUTS) and 0 < layer.p < 1
    ]
    try:
        classifier(images)
    finally:
        for handle in handles:
            handle.remove()
    return shapes
