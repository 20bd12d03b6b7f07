"""How the process treats memory that models have used and will use again."""

from __future__ import annotations

import ctypes

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
