"""Runs the work of a command. Torch is imported here, after the options have been checked."""

from __future__ import annotations

from importlib import import_module

import typer

from .options.types import Common


def run_job(job: str, options: object, common: Common | None = None) -> None:
    """Run the work of a command, and exit with its exit code.

    Args:
        job: name of a module in this package with a function `run(options, terminal) -> ExitCode`.
        options: passed to that function.
        common: the options that all commands have.

    Raises:
        typer.Exit: always.
    """
    from .terminal.terminal import Terminal  # imports Rich, which `cfx --help` does not need

    common = common or Common()
    terminal = Terminal(quiet=common.quiet)
    with terminal.task("loading torch"):
        module = import_module(f".{job}", __package__)
    if common.threads:
        import torch

        torch.set_num_threads(common.threads)
    raise typer.Exit(module.run(options, terminal))
