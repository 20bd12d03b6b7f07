"""The options that choose engines and their settings, parsed before torch is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import typer

from ...counterfactuals.registry import EngineChoice, engine_names
from ...errors import UsageError, unknown_name

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="ENGINE.FIELD=VALUE",
        help="Setting of an engine, such as latent.max_steps=80; repeatable. cfx info --engine NAME lists them.",
        show_default=False,
    ),
]


def choose_engines(wanted: str | None, settings: Sequence[str] = (), *, also: Sequence[str] = ()) -> EngineChoice:
    """Parse names such as "latent,vcnet", and texts such as "latent.max_steps=80".

    Args:
        wanted: the names; "all" gives every engine, None the bundle's own.
        settings: of the engines.
        also: engines that are used in any case.

    Raises:
        UsageError: a name is unknown, a text has another form, or sets a field of an engine that is not used.
    """
    known = engine_names()
    names = [name for name in dict.fromkeys(word.strip() for word in (wanted or "").split(",")) if name]
    every = "all" in names
    if every:
        names = known
    elif wanted is not None:
        for name in names or [wanted]:
            if name not in known:
                raise unknown_name("engine", name, [*known, "all"])
    if names:
        names = [*names, *(name for name in also if name not in names)]
    return EngineChoice(names=tuple(names), every=every, settings=_by_engine(settings, names or known, known))


def _by_engine(texts: Sequence[str], used: Sequence[str], known: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        parts = re.fullmatch(r"([^.=]+)\.([^.=]+)=(.*)", text.strip(), re.DOTALL)
        if parts is None:
            raise UsageError(f"--set {text!r}: expected ENGINE.FIELD=VALUE, such as latent.max_steps=80")
        name, setting, value = (part.strip() for part in parts.groups())
        if name not in known:
            raise UsageError(f"--set {text}: {unknown_name('engine', name, known)}")
        if name not in used:
            raise UsageError(f"--set {text}: {name} is not among the engines of this command, {', '.join(used)}")
        if setting in found.get(name, {}):
            raise UsageError(f"--set {text}: {name}.{setting} is set twice")
        found.setdefault(name, {})[setting] = value
    return found
