"""The work of `cfx info`: collects the information and prints it.

A shipped bundle or an engine that cannot be loaded is reported; only a directory that the user names raises an error.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from .._version import VERSION
from .exit_code import ExitCode
from .info import InfoOptions
from .information import Information, Unavailable
from .terminal.information import print_engine, print_information
from .terminal.terminal import Terminal


def run(options: InfoOptions, terminal: Terminal) -> ExitCode:
    """Collect the information, print it, and return the exit code."""
    if options.engine is not None:
        return _show_engine(options.engine, options, terminal)
    with terminal.task("collecting information"):
        information = collect(options)
    if options.format == "json":
        terminal.json(information.as_json())
    else:
        print_information(terminal.out, information)
    intact = all(bundle.verified for bundle in information.bundles)
    intact &= not any(each.broken for each in information.unavailable)
    return ExitCode.DONE if intact else ExitCode.ANSWERED_NO


def _show_engine(name: str, options: InfoOptions, terminal: Terminal) -> ExitCode:
    """Print one engine with its settings."""
    from . import info_models  # imports torch

    details = info_models.engine_details(name)
    if options.format == "json":
        terminal.json(details.as_json())
    else:
        print_engine(terminal.out, details)
    return ExitCode.DONE


def collect(options: InfoOptions) -> Information:
    """Collect the information; without torch, only versions."""
    information = Information(version=VERSION, python=platform.python_version(), torch=None)
    try:
        torch_version = installed_version("torch")
        from . import info_models  # imports torch, which may fail
    except (PackageNotFoundError, ImportError, OSError) as error:
        why = f"cannot be imported ({error}); reinstall cfx-toolkit"
        return replace(information, unavailable=(Unavailable("torch", why),))
    return info_models.look(replace(information, torch=torch_version), options.directories)
