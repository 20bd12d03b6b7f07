"""From a command's options to its work: torch is imported here, once the options are known to make sense."""

from __future__ import annotations

from importlib import import_module

import typer


def run_job(job: str, options: object) -> None:
    """Do the work of a command, and leave with its exit code.

    Args:
        job: a module of this room with `run(options, terminal) -> ExitCode`.
        options: as that takes them.

    Raises:
        typer.Exit: always.
    """
    from .terminal.terminal import Terminal  # with Rich, which `cfx --help` can do without

    terminal = Terminal()
    with terminal.task("loading torch"):
        module = import_module(f".{job}", __package__)
    raise typer.Exit(module.run(options, terminal))
