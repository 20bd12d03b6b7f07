"""Keeps a classifier as it is while something searches through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def frozen_eval(classifier: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Put the classifier in eval mode and freezes its parameters; restore both on exit."""
    if not isinstance(classifier, torch.nn.Module):
        yield
        return
    modes = {module: module.training for module in classifier.modules()}
    gradients = {parameter: parameter.requires_grad for parameter in classifier.parameters()}
    classifier.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for parameter, requires_grad in gradients.items():
            parameter.requires_grad_(requires_grad)
