"""Runs the work of a command. Torch is imported here, after the options have been checked."""

from __future__ import annotations

from importlib import import_module

import typer


def run_job(job: str, options: object) -> None:
    """Run the work of a command, and exit with its exit code.

    Args:
        job: name of a module in this package with a function `run(options, terminal) -> ExitCode`.
        options: passed to that function.

    Raises:
        typer.Exit: always.
    """
    from .terminal.terminal import Terminal  # imports Rich, which `cfx --help` does not need

    terminal = Terminal()
    with terminal.task("loading torch"):
        module = import_module(f".{job}", __package__)
    raise typer.Exit(module.run(options, terminal))
