"""The work of `cfx info`: what fails is told, not raised."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from .._version import VERSION
from .exit_code import ExitCode
from .info import InfoOptions
from .information import Information, Unavailable
from .terminal.information import print_information
from .terminal.terminal import Terminal


def run(options: InfoOptions, terminal: Terminal) -> ExitCode:
    """Look around, and print it; returns the exit code."""
    with terminal.task("looking around"):
        information = collect(options)
    if options.format == "json":
        terminal.line(json.dumps(information.as_json(), ensure_ascii=False))
    else:
        print_information(terminal.out, information)
    intact = all(bundle.verified for bundle in information.bundles)
    return ExitCode.DONE if intact else ExitCode.ANSWERED_NO


def collect(options: InfoOptions) -> Information:
    """Everything there is to know."""
    information = Information(version=VERSION, python=platform.python_version(), torch=None)
    try:
        torch_version = installed_version("torch")
        from . import info_models  # with torch: whether it can be imported at all is the first thing to know
    except (PackageNotFoundError, ImportError, OSError) as error:
        why = f"cannot be imported ({error}); install cfx-toolkit anew"
        return replace(information, unavailable=(Unavailable("torch", why),))
    return info_models.look(replace(information, torch=torch_version), options.directories)
