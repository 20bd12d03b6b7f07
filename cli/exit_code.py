"""What the exit code of a command says; docs/exit-codes are in README."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    ANSWERED_NO = 1
    """No valid counterfactual, a gate failed, something looks wrong."""
    WRONG_USAGE = 2
    """Or an input that cannot be read."""
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    """What a shell reports for a program stopped by SIGPIPE, as in `yes | head`."""
