"""How the commands of studies end: with an exit code, and one line for an error."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ...errors import CfxError


def exit_code(work: Callable[[], None]) -> int:
    """Do the work of a command: 0 if it is done, 2 after an error of cfx, 130 if it was interrupted."""
    try:
        work()
    except CfxError as error:
        print("error:", error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
