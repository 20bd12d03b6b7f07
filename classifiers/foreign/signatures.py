"""What is wrong with a model that fails whatever the image: it wants other arguments, another device, or is broken."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

from torch import nn

from .adapted import Called
from .live import Borrowed

OF_THE_INPUT = (RuntimeError, ValueError, AssertionError, IndexError)  # what an input of another size may raise
FIXED = "wrap it in a module whose forward(images) calls it"


class _AskedFor(Exception):
    """A key that a model looks for in its input."""


class _Table:
    """Stands for the input of a model, to see whether it takes a dict."""

    def __getitem__(self, key: object) -> object:
        raise _AskedFor(key)

    def get(self, key: object, default: object = None) -> object:
        raise _AskedFor(key)


def fault_of(model: nn.Module, error: Exception) -> str | None:
    """What is wrong with a model, and what to do; None if another size or number of channels may help.

    Args:
        model: a foreign model.
        error: what it raised for a batch of images.
    """
    said = str(error).lower()
    if "cuda" in said or "nvidia" in said or "same device" in said:
        return "its code uses a device that its images are not on; move the model, and what its forward makes, to one"
    inner = own_model(model)
    wanted = other_arguments(inner) or key_of(inner)
    if wanted is not None:
        return f"{wanted}, and cfx calls it with one batch of images; {FIXED}"
    if isinstance(error, OF_THE_INPUT) and not isinstance(error, NotImplementedError):
        return None
    return "its code fails on any image; call it with a float tensor (N, C, H, W) and mend that"


def own_model(model: nn.Module) -> Callable[..., Any]:
    """The user's own model or function in what cfx has put around it."""
    if isinstance(model, Borrowed):
        return own_model(model.model)
    return model.function if isinstance(model, Called) else model


def other_arguments(model: Callable[..., Any]) -> str | None:
    """What a model takes if it cannot be called with one tensor; None if it can, or if that is not known."""
    try:
        signature = inspect.signature(model.forward if isinstance(model, nn.Module) else model)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(None)
    except TypeError:
        needed = [
            f"{each.name}=" if each.kind is Parameter.KEYWORD_ONLY else each.name
            for each in signature.parameters.values()
            if each.default is Parameter.empty and each.kind not in (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
        ]
        return f"its forward takes ({', '.join(needed)})" if needed else "its forward takes no images"
    return None


def key_of(model: Callable[..., Any]) -> str | None:
    """What a model takes if it looks for a name in its input, as in a dict."""
    try:
        model.forward(_Table()) if isinstance(model, nn.Module) else model(_Table())
    except _AskedFor as asked:
        key = asked.args[0]
        return f"its forward takes a dict with the key {key!r}" if isinstance(key, str) else None
    except Exception:  # of any model, for such an input
        return None
    return None
