"""Computing on an accelerator so that the same search gives the same bytes, and what the CPU gives."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.backends import cudnn


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """On CUDA: deterministic algorithms, where torch has them, and convolutions in full single precision.

    By default, cuDNN rounds the inputs of convolutions to ten bits (TF32), and adds up gradients in any order. A search
    that stops at the first valid image then ends elsewhere each time. Elsewhere than on CUDA, nothing changes.
    """
    if device.type != "cuda":
        yield
        return
    enabled = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    settings: Any = torch.utils.deterministic
    fills = settings.fill_uninitialized_memory
    with (
        cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=".*deterministic")  # of operators that have no such algorithm
        torch.use_deterministic_algorithms(True, warn_only=True)
        settings.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(enabled, warn_only=warns)
            settings.fill_uninitialized_memory = fills
