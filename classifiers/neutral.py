"""Calculating with torch's own defaults, whatever the program around has set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np
import torch

from ..switches import Switch

T = TypeVar("T")

_set_dtype: Callable[[Any], None] = torch.set_default_dtype
_SHARED = (Switch(torch.get_default_dtype, _set_dtype, torch.float32),)  # by all threads; the others are a thread's own
_DEVICES = ("cpu", "cuda")  # on which torch can be told to calculate in half precision


@contextmanager
def neutral() -> Iterator[None]:
    """With gradients, in float32, on the CPU unless told otherwise; then everything is as it was before.

    What is put back are inference mode, no_grad, the default type and device, autocast, and NumPy's errors.
    """
    with ExitStack() as held:
        for switch in _SHARED:
            held.enter_context(switch.held())
        held.enter_context(torch.inference_mode(False))
        held.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":  # otherwise it would only make every call of torch slower
            held.enter_context(torch.device("cpu"))
        for device in _DEVICES:
            if torch.is_autocast_enabled(device):
                held.enter_context(torch.autocast(device, enabled=False))
        held.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        yield


def each_within(results: Iterator[T], enter: Callable[[], AbstractContextManager[None]]) -> Iterator[T]:
    """What an iterator gives, found within a context; between two results the program has its own state."""
    done = object()
    while True:
        with enter():
            result: Any = next(results, done)
        if result is done:
            return
        yield result
