"""How the process treats memory that models have used and will use again."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# From malloc.h: what glibc hands back to the system, and from what size on it asks the system each time.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
GIBIBYTE = 2**30


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next batch instead of returning it to the system after each layer.

    A batch's activations are tens of megabytes a layer, and fetching them page by page anew takes about as long as
    the convolutions. Call it once, from a command and not from the library: it is the process's business. Does
    nothing where there is no glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for option, value in ((M_MMAP_THRESHOLD, GIBIBYTE), (M_TRIM_THRESHOLD, GIBIBYTE), (M_TOP_PAD, GIBIBYTE // 8)):
        mallopt(option, value)


def available(device: torch.device) -> int | None:
    """Bytes that can be had on a device without swapping; None where the system does not tell."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def restart_peak(device: torch.device) -> None:
    """Begin to measure the peak anew, where the system can."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident set size


def peak(device: torch.device) -> int | None:
    """Most bytes in use at once since `restart_peak`: the device's, or else the whole process's resident set.

    None where the system cannot restart its count (anything but Linux).
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        return None
