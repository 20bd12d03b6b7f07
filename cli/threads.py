"""How the threads of one computation wait for each other."""

from __future__ import annotations

import os

SPINS = "2000"  # the default of libgomp, 300,000, keeps a core busy for milliseconds


def share_cores() -> None:
    """Let waiting threads sleep soon, unless the user's environment says otherwise. Must run before torch is imported.

    A thread that waits for another one to finish its half of a convolution spins. If another process takes the core
    of that one, both wait. On two cores beside a busy process a training step then takes 5 times as long as with this
    setting; on free cores it takes as long with as without.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
