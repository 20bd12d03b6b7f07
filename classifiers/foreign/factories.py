"""Classifiers made by the user's own code, `module:factory`, and the record of code that a bundle may import."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from ...errors import BundleError, OutputError, UsageError, first_line
from ...files import expanded, make_directory, write_text
from ..neutral import neutral
from .adapted import Called, set_eval_mode
from .checkpoints import load_weights, read_weights
from .contract import STEM, Foreign, pack

FACTORY = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*(\.\w+)*")
TRUST_VARIABLE = "CFX_TRUST_CODE"


def open_factory(name: str, weights: Path | None = None) -> Foreign:
    """Calls `name`, "package.module:attribute.path", without arguments and opens the classifier that it returns.

    An nn.Module is used as it is, after loading `weights` into it. Any other callable is a black box.

    Raises:
        UsageError: it cannot be imported, fails, returns something else, or the weights do not match.
    """
    made = _made(name)
    if not isinstance(made, nn.Module):
        if not callable(made):
            raise UsageError(
                f"{name}: returned a {type(made).__name__}; it must take no arguments "
                "and return an nn.Module or a callable"
            )
        if weights is not None:
            raise UsageError(f"{name}: returned a plain callable, which takes no weights; leave {weights} out")
        return Foreign(Called(made), "factory", name, differentiable=False)
    notes = () if weights is None else load_weights(made, read_weights(weights), str(weights))
    set_eval_mode(made)
    files = {f"{STEM}.safetensors": pack(made, name)} if made.state_dict() else {}
    return Foreign(made, "factory", name, files=files, notes=notes)


def trust(directory: Path, name: str) -> None:
    """Records that the user named the code `name` for the bundle in `directory`, so that it may be imported.

    Not if the environment allows it anyway.

    Raises:
        OutputError: the user's state directory cannot be written to.
    """
    if name in _allowed():
        return
    known = _trusted_bundles() | {str(directory.resolve()): name}
    write_text(_trust_file(), json.dumps(known, indent=1, sort_keys=True) + "\n")


def check_trust_can_be_kept(name: str) -> None:
    """Raises UsageError, before any work is done, if `trust` could not record the code `name`."""
    if name in _allowed():
        return
    try:
        make_directory(_trust_file().parent)
    except (OutputError, UsageError) as error:
        raise UsageError(
            f"{name}: that you trust this code cannot be recorded ({error}); set XDG_STATE_HOME to a directory that "
            f"can be written to, or set {TRUST_VARIABLE}={name} for every command"
        ) from error


def _allowed() -> set[str]:
    """The code that the environment allows."""
    return {entry.strip() for entry in os.environ.get(TRUST_VARIABLE, "").split(",")}


def check_trust(directory: Path, name: str) -> None:
    """Raises BundleError unless the user has allowed this bundle to name this code."""
    if name not in _allowed() and _trusted_bundles().get(str(directory.resolve())) != name:
        raise BundleError(
            f"bundle {directory}: its classifier is the Python code {name}, "
            f"which cfx does not run unless you allow it; if you trust it, set {TRUST_VARIABLE}={name}"
        )


def _trust_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return expanded(state) / "cfx" / "trusted-code.json"


def _trusted_bundles() -> dict[str, str]:
    try:
        found = json.loads(_trust_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, UsageError):  # missing or damaged: nothing is trusted
        return {}
    return found if isinstance(found, dict) else {}


def _made(name: str) -> Any:
    module, _, attribute = name.partition(":")
    # What the code sets for the whole process is put back.
    with neutral(), _working_directory_first(), redirect_stdout(sys.stderr):  # cfx's own stdout is for results
        try:
            found: Any = import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and (module == error.name or module.startswith(error.name + ".")):
                raise UsageError(
                    f"{name}: there is no module {error.name!r} here; "
                    "start cfx in the directory that contains it, or install it"
                ) from error
            raise UsageError(f"{name}: importing {module} failed ({_describe(error)}); repair it") from error
        except Exception as error:  # the user's code may raise anything
            raise UsageError(f"{name}: importing {module} failed ({_describe(error)}); repair it") from error
        for component in attribute.split("."):
            if not hasattr(found, component):
                raise UsageError(f"{name}: {module} has no {attribute!r}; name a function that returns the model")
            found = getattr(found, component)
        if not callable(found):
            raise UsageError(f"{name}: is a {type(found).__name__}; name a function that returns the model")
        if isinstance(found, nn.Module):
            raise UsageError(f"{name}: is already a model; name a function without arguments that returns it")
        try:
            return found()
        except Exception as error:
            raise UsageError(f"{name}: calling it without arguments failed ({_describe(error)}); repair it") from error


@contextmanager
def _working_directory_first() -> Iterator[None]:
    """Puts the working directory first on `sys.path`, as `python -c` and uvicorn do."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def _describe(error: Exception) -> str:
    kind = type(error).__name__
    return f"{kind}: {first_line(error)}" if str(error) else kind
