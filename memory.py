"""Memory of the process: allocator settings, available memory, and peak usage."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# From malloc.h: when glibc returns memory to the system, and from which size on it maps memory for each allocation.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
GIBIBYTE = 2**30


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next batch instead of returning it to the system after each layer.

    A batch's activations are tens of megabytes per layer, and allocating them again page by page takes about as long as
    the convolutions. Call it once, from a command and not from the library, because it affects the whole process. Does
    nothing without glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for option, value in ((M_MMAP_THRESHOLD, GIBIBYTE), (M_TRIM_THRESHOLD, GIBIBYTE), (M_TOP_PAD, GIBIBYTE // 8)):
        mallopt(option, value)


def return_freed_memory() -> None:
    """Give memory that is free between what is in use back to the system, which `keep_freed_memory` never does.

    Without it, a long run grows by what its records and its batches leave between one another. Does nothing without
    glibc.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def resident() -> int | None:
    """Memory of the process in bytes, without what is swapped out; None if the system does not report it."""
    return _status("VmRSS:")


def available(device: torch.device) -> int | None:
    """Bytes available on a device without swapping; None if the system does not report it."""
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
    """Reset the peak memory counter, if the system supports it."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident set size


def peak(device: torch.device) -> int | None:
    """Peak memory in bytes since `restart_peak`: of the CUDA device, or of the whole process (resident set).

    None if the system has no counter that can be reset (anything but Linux).
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM:")


def _status(name: str) -> int | None:
    """A figure of proc(5)'s status of the process, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))
    except (OSError, StopIteration, ValueError):
        return None


def is_out_of_memory(error: Exception) -> bool:
    """Whether a search ran out of memory; torch raises different errors on different devices."""
    message = str(error).lower()
    says_so = "can't allocate memory" in message or "out of memory" in message
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and says_so)
