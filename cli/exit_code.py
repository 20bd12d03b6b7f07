"""The exit codes of the commands; README.md has the same table."""

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
    """What a shell reports for a program stopped by SIGPIPE, as in `yes | head`."""
