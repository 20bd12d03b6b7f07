"""Whether a foreign classifier is faster with its weights in the channels-last memory format."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch
from torch import Tensor, nn

FASTER = 1.2  # times as fast it must be; less is within the noise of a shared machine
RUNS = 3  # of which the fastest counts
MAX_DIFFERENCE = 1e-4  # largest difference of the logits, relative to the largest: sums are added up in another order


def prefers_channels_last(
    classifier: nn.Module,
    images: Tensor,
    runs: int = RUNS,
    seconds: Callable[[nn.Module, Tensor], float] | None = None,
) -> bool:
    """Whether it gives the same answers with channels-last weights, clearly faster; then they are left in that format.

    Args:
        classifier: images (N, C, H, W) in [0, 1] -> logits (N, K).
        images: on which both are compared.
        runs: of each, of which the fastest counts.
        seconds: how long one run takes; measured, if None.
    """
    if not any(weight.dim() == 4 for weight in classifier.parameters()):
        return False
    measure = seconds or seconds_of
    try:
        with torch.no_grad():
            before = classifier(images)
        usual = min(measure(classifier, images) for _ in range(runs))
        use_channels_last(classifier)
        with torch.no_grad():
            after = classifier(images)
        same = bool((after - before).abs().max() <= MAX_DIFFERENCE * before.abs().max())
        if same and FASTER * min(measure(classifier, images) for _ in range(runs)) < usual:
            return True
    except Exception:  # a foreign model may raise anything; `view`, for example, takes only the usual format
        pass
    classifier.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    return False


def use_channels_last(model: nn.Module) -> None:
    """Put the weights of a model's convolutions into the channels-last format; its outputs then follow."""
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def seconds_of(classifier: nn.Module, images: Tensor) -> float:
    """How long the classifier takes for the images, and for their gradient if it has one."""
    began = perf_counter()
    with torch.enable_grad():
        inputs = images.detach().clone().requires_grad_()
        total = classifier(inputs).sum()
        if total.requires_grad:
            torch.autograd.grad(total, inputs, allow_unused=True)
    return perf_counter() - began
