"""Keeps a classifier as it is while something calls it or searches through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock

import torch
from torch import Tensor, nn


@dataclass
class Loan:
    """A module that is borrowed.

    Attributes:
        module: the module; held, so that its id is not that of another.
        was_training: its mode before.
        buffers: its own buffers with copies of their values before.
        trainable: its own parameters that had gradients.
        borrowers: how many borrow it, in any thread.
    """

    module: nn.Module
    was_training: bool
    buffers: list[tuple[Tensor, Tensor]]
    trainable: list[nn.Parameter]
    borrowers: int = 0


_loans: dict[int, Loan] = {}  # by the module's id
_lock = RLock()


@contextmanager
def frozen_eval(classifier: object) -> Iterator[None]:
    """Have a classifier in eval mode, with its parameters frozen. The last of its borrowers puts all of it back.

    So several threads may use modules of the same model at once.
    """
    modules = list(classifier.modules()) if isinstance(classifier, nn.Module) else []
    with _lock:
        for module in modules:
            _borrow(module)
    try:
        yield
    finally:
        with _lock:
            for module in modules:
                _give_back(module)


def _borrow(module: nn.Module) -> None:
    loan = _loans.get(id(module))
    if loan is None:
        buffers = [(each, each.detach().clone()) for each in module.buffers(recurse=False) if not each.is_meta]
        trainable = [each for each in module.parameters(recurse=False) if each.requires_grad]
        loan = _loans[id(module)] = Loan(module, module.training, buffers, trainable)
        if loan.was_training:  # set directly, because a model may have a `train` method of its own, or refuse it
            module.training = False
        for parameter in trainable:
            parameter.requires_grad_(False)
    loan.borrowers += 1


def _give_back(module: nn.Module) -> None:
    loan = _loans[id(module)]
    loan.borrowers -= 1
    if loan.borrowers:
        return
    del _loans[id(module)]
    if loan.was_training:
        module.training = True
    for parameter in loan.trainable:
        parameter.requires_grad_(True)
    for buffer, before in loan.buffers:
        if not _same(buffer, before):
            with torch.inference_mode(buffer.is_inference()), torch.no_grad():
                buffer.copy_(before)


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are equal, also where both are NaN."""
    return torch.equal(first, second) or bool(((first == second) | ((first != first) & (second != second))).all())
