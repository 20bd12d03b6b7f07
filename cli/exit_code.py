"""The exit codes of the commands; docs/exit-codes.md describes them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    ANSWERED_NO = 1
    """There is no valid counterfactual, a gate failed, or a check found something wrong."""
    WRONG_USAGE = 2
    """The command was used wrongly, or an input cannot be read."""
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    """Nobody reads the output of a command that only prints. The code is what a shell reports for SIGPIPE."""
    TERMINATED = 143
    """Stopped by SIGTERM."""
