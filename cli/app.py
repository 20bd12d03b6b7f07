"""The command `cfx`: its subcommands, its global options, and the one place that turns errors into exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from .._version import VERSION
from ..errors import CfxError
from .bench import bench
from .compare import compare
from .exit_code import ExitCode
from .explain import explain
from .info import info
from .init import init
from .train import train

COMMANDS = (explain, bench, compare, init, train, info)

app = typer.Typer(
    name="cfx",
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help; it does not import Rich
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    app.command()(command)


@dataclass
class Globals:
    """Global options. The parser sets them; `main` reads them when it reports an error."""

    debug: bool = False


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cfx {VERSION}")
        raise typer.Exit


@app.callback()
def cfx(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", envvar="CFX_DEBUG", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Explain image classifiers with counterfactuals: what would have to change for the model to see something else?"""
    context.ensure_object(Globals).debug = debug
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(ExitCode.WRONG_USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; every error becomes one line on stderr.

    Args:
        arguments: the words after `cfx`; `sys.argv[1:]` if None.
    """
    settings = Globals()
    try:
        command = typer.main.get_command(app)
        code = command.main(args=arguments, prog_name="cfx", standalone_mode=False, obj=settings)
        sys.stdout.flush()
        return code or 0
    except SystemExit as stop:
        # typer and Rich both turn a closed pipe into exit code 1, which here means "answered no".
        return _pipe_closed() if isinstance(stop.__context__, BrokenPipeError) else int(stop.code or 0)
    except BrokenPipeError:
        return _pipe_closed()
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except CfxError as error:
        return _report(str(error), settings.debug)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "cfx"
        return _report(f"{error.format_message().rstrip('.?')}; see {where} --help", settings.debug)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
            return _report(f"out of memory; try a smaller --batch-size ({reason})", settings.debug)
        return _report(f"{reason} (unexpected; run with --debug for the traceback)", settings.debug)


def _report(message: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print("error:", " ".join(message.split()), file=sys.stderr)
    return ExitCode.WRONG_USAGE


def _pipe_closed() -> int:
    # Nobody reads stdout any more. Buffered output must not raise a second error when Python exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.PIPE_CLOSED
