"""Networks that dropout makes of one classifier, whose disagreement says how unsure it is of what it has learned."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

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
        seed: of the sets.

    Attributes:
        layers: the dropout layers of the classifier, which is empty for a plain function or a program.
    """

    def __init__(self, classifier: Callable[[Tensor], Tensor], count: int, seed: int = 0) -> None:
        self.classifier = classifier
        self.count = count
        self.seed = seed
        modules = classifier.modules() if isinstance(classifier, nn.Module) else ()
        self.layers = [module for module in modules if isinstance(module, DROPOUTS) and 0 < module.p < 1]

    def __call__(self, images: Tensor) -> Tensor:
        return torch.stack([self._classify(images, number) for number in range(self.count)])

    def _classify(self, images: Tensor, number: int) -> Tensor:
        def drop(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            assert isinstance(module, DROPOUTS)
            # A layer drops the same units whenever it is called: a batch may be split into several calls.
            seed = (self.seed * 1_000_003 + number) * 1_009 + self.layers.index(module)
            random = torch.Generator().manual_seed(seed % 2**63)
            single = isinstance(module, nn.Dropout)  # the others drop whole feature maps
            units = output.shape[1:] if single else output.shape[1:2]
            kept = torch.bernoulli(torch.full(units, 1 - module.p, device="cpu"), generator=random).to(output)
            kept = kept.reshape(*units, *(1,) * (output.dim() - 1 - len(units)))
            return output * (kept / (1 - module.p))

        handles = [layer.register_forward_hook(drop) for layer in self.layers]
        try:
            return self.classifier(images)
        finally:
            for handle in handles:
                handle.remove()
