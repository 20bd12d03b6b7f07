"""The command `cfx`: its subcommands, its global options, and the one place that turns errors into exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand

from .._version import VERSION
from ..errors import CfxError, printable, reason_of
from .bench import bench
from .compare import compare
from .exit_code import ExitCode
from .explain import explain
from .info import info
from .init import init
from .stopping import ended_by_sigterm
from .streams import lasting_streams, quiet_libraries, without_native_messages
from .threads import share_cores
from .train import train

COMMANDS = (explain, bench, compare, init, train, info)
WRITING = ("explain", "bench", "init", "train")
"""Commands that write files, and therefore go on when nobody reads what they print."""


class Command(TyperCommand):
    """A command whose help names its arguments by what they are, without their Python types."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                parameter.display_type_rich = lambda ctx: None  # pyright: ignore[reportAttributeAccessIssue]


app = typer.Typer(
    name="cfx",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help; it does not import Rich
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    app.command(cls=Command)(command)


@dataclass
class Globals:
    """Global options. The parser sets them; `main` reads them when it reports an error."""

    debug: bool = False
    command: str | None = None


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
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Explain image classifiers with counterfactuals: what would have to change for the model to see something else?"""
    settings = context.ensure_object(Globals)
    settings.debug, settings.command = debug, context.invoked_subcommand
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(ExitCode.WRONG_USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; every error becomes one line on stderr.

    Args:
        arguments: the words after `cfx`; `sys.argv[1:]` if None.
    """
    share_cores()
    words = sys.argv[1:] if arguments is None else list(arguments)
    debugging = "--debug" in words or bool(os.environ.get("CFX_DEBUG"))
    native = nullcontext() if debugging else without_native_messages()
    with native, lasting_streams() as stdout, ended_by_sigterm() as terminated, quiet_libraries():
        settings = Globals()
        code = _run(words, settings)
        if code == ExitCode.INTERRUPTED and terminated.is_set():
            code = ExitCode.TERMINATED
        stdout.flush()
        if stdout.failure is None:
            return code
        if not isinstance(stdout.failure, BrokenPipeError):
            text = f"stdout: could not be written ({reason_of(stdout.failure)}); free some space"
            return _report(text, words, settings.command)
        return code if settings.command in WRITING else ExitCode.PIPE_CLOSED


def _run(words: list[str], settings: Globals) -> int:
    """Run the command line; every error becomes one line on stderr."""
    try:
        command = typer.main.get_command(app)
        return command.main(args=words, prog_name="cfx", standalone_mode=False, obj=settings) or 0
    except SystemExit as stop:
        return int(stop.code or 0)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except Exception as error:
        if settings.debug:
            traceback.print_exc()
        return _report(_message(error, settings.command), words, settings.command)


def _message(error: Exception, command: str | None) -> str:
    """What the user is told about an error."""
    if isinstance(error, CfxError):
        return str(error)
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "cfx"
        return f"{error.format_message().rstrip('.?')}; see {where} --help"
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
        remedy = "try a smaller --batch-size" if command in ("explain", "bench") else "close other programs"
        return f"out of memory; {remedy} ({reason})"
    return f"{reason} (unexpected; run with --debug for the traceback)"


def _report(message: str, words: list[str], command: str | None) -> int:
    """Print an error in one line, and replace the JUnit report that an earlier run may have left."""
    message = printable(" ".join(message.split()))
    print("error:", message, file=sys.stderr)
    junit = junit_option(words)
    if junit is not None:
        from ..runs.junit import JUnitReport  # few commands fail with one

        now = datetime.now(UTC)
        try:
            report = JUnitReport(command=command or "", began=now, seconds=0.0, error=("refused", message))
            report.write(junit)
        except CfxError as error:
            print("error:", printable(str(error)), file=sys.stderr)
    return ExitCode.WRONG_USAGE


def junit_option(words: list[str]) -> Path | None:
    """The file named with --junit, also on a command line that cannot be parsed."""
    for place, word in enumerate(words):
        name, sign, value = word.partition("=")
        if name == "--junit":
            value = value if sign else "".join(words[place + 1 : place + 2])
            return Path(value) if value and not Path(value).is_dir() else None
    return None
